-- The registry tables of the platform, for a database in which its own migrations did not make them.
-- Existing tables are left as they are. No cascades: removal is code.

CREATE TABLE IF NOT EXISTS extension_registry (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  publisher text NOT NULL,
  name text NOT NULL,
  display_name text,
  description text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (publisher, name)
);

CREATE TABLE IF NOT EXISTS extension_version (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  registry_id uuid NOT NULL,
  version text NOT NULL,
  runtime text,
  main_entry text,
  api jsonb DEFAULT '{}',
  api_endpoints jsonb DEFAULT '[]',
  ui jsonb,
  capabilities jsonb DEFAULT '[]',
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (registry_id, version)
);

DO $$ BEGIN
  IF to_regclass('extension_bundle') IS NULL THEN
    CREATE TABLE extension_bundle (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      version_id uuid NOT NULL,
      content_hash text NOT NULL,
      signature text,
      precompiled jsonb,
      created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX extension_bundle_version ON extension_bundle (version_id, created_at DESC);
  END IF;
END $$;

CREATE TABLE IF NOT EXISTS tenant_extension_install (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id varchar(255) NOT NULL,
  registry_id uuid NOT NULL,
  version_id uuid NOT NULL,
  granted_caps jsonb DEFAULT '[]',
  config jsonb DEFAULT '{}',
  is_enabled boolean DEFAULT true,
  status text DEFAULT 'enabled',
  installed_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (tenant_id, registry_id)
);

CREATE TABLE IF NOT EXISTS tenant_extension_install_config (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  install_id uuid NOT NULL UNIQUE,
  tenant_id varchar(255) NOT NULL,
  config jsonb DEFAULT '{}',
  providers jsonb DEFAULT '[]',
  version text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS tenant_extension_install_secrets (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  install_id uuid NOT NULL UNIQUE,
  tenant_id varchar(255) NOT NULL,
  ciphertext text,
  algorithm text,
  transit_key text,
  transit_mount text,
  version text,
  expires_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS extension_api_endpoint (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  version_id uuid NOT NULL,
  method varchar(16) NOT NULL,
  path text NOT NULL,
  handler text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (version_id, method, path)
);

DO $$ BEGIN
  IF to_regclass('tenant_extension_schedule') IS NULL THEN
    CREATE TABLE tenant_extension_schedule (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      install_id uuid NOT NULL,
      tenant_id varchar(255) NOT NULL,
      endpoint_id uuid,
      name varchar(128),
      cron text NOT NULL,
      timezone varchar(64) DEFAULT 'UTC',
      enabled boolean DEFAULT true,
      payload_json jsonb,
      job_id uuid,
      runner_schedule_id varchar(255),
      last_run_at timestamptz,
      last_run_status varchar(32),
      last_error text,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE UNIQUE INDEX tenant_extension_schedule_name
      ON tenant_extension_schedule (install_id, name) WHERE name IS NOT NULL;
  END IF;
END $$;
