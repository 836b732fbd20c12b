-- The registry as the platform's own migrations may have made it: single-column keys, ids without a
-- default, cascades, columns that nobody here knows or that must not be null, tenant ids as text or
-- varchar, times without zone, JSON columns of either kind that hold JSON text.

CREATE TABLE extension_registry (
  id uuid PRIMARY KEY,
  publisher varchar(255) NOT NULL,
  name varchar(255) NOT NULL,
  display_name varchar(255) DEFAULT '',
  description text NOT NULL DEFAULT '',
  featured boolean NOT NULL DEFAULT false,
  created_at timestamp NOT NULL DEFAULT now(),
  updated_at timestamp NOT NULL DEFAULT now(),
  CONSTRAINT extension_registry_publisher_name_unique UNIQUE (publisher, name)
);

CREATE TABLE extension_version (
  id uuid PRIMARY KEY,
  registry_id uuid NOT NULL REFERENCES extension_registry (id) ON DELETE CASCADE,
  version varchar(64) NOT NULL,
  runtime varchar(255) NOT NULL,
  main_entry varchar(255) NOT NULL,
  api json DEFAULT '{}',
  api_endpoints jsonb DEFAULT '[]',
  ui jsonb,
  capabilities json DEFAULT '[]',
  changelog text NOT NULL DEFAULT '',
  created_at timestamp DEFAULT now(),
  UNIQUE (registry_id, version)
);

CREATE TABLE extension_bundle (
  id uuid PRIMARY KEY,
  version_id uuid NOT NULL REFERENCES extension_version (id) ON DELETE CASCADE,
  content_hash text NOT NULL,
  signature text,
  precompiled jsonb,
  size_bytes bigint NOT NULL DEFAULT 0,
  created_at timestamp DEFAULT now(),
  UNIQUE (version_id, content_hash)
);

CREATE TABLE tenant_extension_install (
  id uuid PRIMARY KEY,
  tenant_id text NOT NULL,
  registry_id uuid NOT NULL REFERENCES extension_registry (id),
  version_id uuid NOT NULL REFERENCES extension_version (id),
  granted_caps jsonb NOT NULL DEFAULT '[]',
  config jsonb NOT NULL DEFAULT '{}',
  is_enabled boolean NOT NULL DEFAULT true,
  status text NOT NULL DEFAULT 'enabled' CHECK (status IN ('enabled', 'disabled', 'pending')),
  runner_domain text UNIQUE,
  runner_status jsonb NOT NULL DEFAULT '{}',
  created_at timestamp DEFAULT now(),
  updated_at timestamp NOT NULL DEFAULT now(),
  UNIQUE (tenant_id, registry_id)
);

CREATE TABLE tenant_extension_install_config (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  install_id uuid NOT NULL UNIQUE REFERENCES tenant_extension_install (id) ON DELETE CASCADE,
  tenant_id varchar(255) NOT NULL,
  config jsonb NOT NULL DEFAULT '{}',
  providers jsonb NOT NULL DEFAULT '[]',
  version integer NOT NULL DEFAULT 1,
  created_at timestamp DEFAULT now(),
  updated_at timestamp DEFAULT now()
);

CREATE TABLE tenant_extension_install_secrets (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  install_id uuid NOT NULL UNIQUE REFERENCES tenant_extension_install (id) ON DELETE CASCADE,
  tenant_id text NOT NULL,
  ciphertext text NOT NULL DEFAULT '',
  algorithm text,
  transit_key text,
  transit_mount text,
  version integer NOT NULL DEFAULT 1,
  expires_at timestamp,
  created_at timestamp DEFAULT now(),
  updated_at timestamp DEFAULT now()
);

CREATE TABLE extension_api_endpoint (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  version_id uuid NOT NULL REFERENCES extension_version (id) ON DELETE CASCADE,
  method varchar(16) NOT NULL,
  path text NOT NULL,
  handler text NOT NULL,
  deprecated boolean NOT NULL DEFAULT false,
  created_at timestamp NOT NULL DEFAULT now(),
  updated_at timestamp NOT NULL DEFAULT now(),
  UNIQUE (version_id, method, path)
);

CREATE TABLE tenant_extension_schedule (
  id uuid PRIMARY KEY,
  install_id uuid NOT NULL REFERENCES tenant_extension_install (id) ON DELETE CASCADE,
  tenant_id varchar(255) NOT NULL,
  endpoint_id uuid NOT NULL REFERENCES extension_api_endpoint (id) ON DELETE RESTRICT,
  name varchar(128),
  cron text NOT NULL,
  timezone varchar(64) NOT NULL DEFAULT 'UTC',
  enabled boolean NOT NULL DEFAULT true,
  payload_json jsonb,
  job_id uuid,
  runner_schedule_id varchar(255),
  last_run_at timestamp,
  last_run_status varchar(32),
  last_error text,
  created_by text NOT NULL DEFAULT 'extension',
  created_at timestamp NOT NULL DEFAULT now(),
  updated_at timestamp NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX tenant_extension_schedule_install_name
  ON tenant_extension_schedule (install_id, name) WHERE name IS NOT NULL;
