-- Set on a schedule that was given back to the platform: without a handle of anybody, it would be
-- taken over again.
ALTER TABLE tenant_extension_schedule ADD COLUMN IF NOT EXISTS released boolean;
