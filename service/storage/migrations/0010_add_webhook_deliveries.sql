-- Events on their way to a webhook. Handed over from the outbox in the transaction that removes them
-- there; on the coordinator, because they are taken with SKIP LOCKED.
CREATE TABLE ext_scheduler.webhook_deliveries (
  tenant_id text NOT NULL,
  id uuid NOT NULL,
  install_id uuid NOT NULL,
  body text NOT NULL,
  created_at timestamptz NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  next_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX webhook_deliveries_due ON ext_scheduler.webhook_deliveries (next_at);
