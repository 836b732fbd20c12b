// Every operation as a host in TypeScript writes it; prints what each answered.
import { connectScheduler, ServiceError, type Code, type CreateInput } from "@ext-scheduler/client";

const { NATS_URL, NATS_USER, NATS_PASSWORD, KEY_FILE, INSTALL_ID, ONLY } = process.env as Record<string, string>;
const client = await connectScheduler({
  servers: NATS_URL!,
  user: NATS_USER!,
  pass: NATS_PASSWORD!,
  keyFile: KEY_FILE!,
});
const host = client.host({ installId: INSTALL_ID!, tenantId: "tenant-1" });

async function refused(asked: Promise<unknown>): Promise<{ code: Code; number: number; fields: unknown }> {
  try {
    await asked;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return { code: error.code, number: error.number, fields: error.fieldErrors };
  }
  throw new Error("it was not refused");
}

const input: CreateInput = {
  endpoint: "POST /api/heartbeat",
  cron: "0 2 * * *",
  timezone: "Europe/Berlin",
  name: "nightly",
  payload: { text: "ü", list: [1, null, 1.5] },
};
const jti = "5f0c2a6e-3b1d-4c57-9a43-6f1d2e8b7c90";
const created = await host.create(input, { jti });
const answers: Record<string, unknown> = { created };
if (ONLY !== "create") {
  const scheduleId = created.scheduleId!;
  answers.repeated = await host.create(input, { jti });
  answers.reused = await refused(host.create({ ...input, name: "other" }, { jti }));
  answers.taken = await host.create(input);
  answers.wrong = await host.create({ endpoint: "/none", cron: "* * * * *" });
  answers.listed = await host.list();
  answers.updated = await host.update({ scheduleId, payload: null, expectedRevision: 1 });
  answers.got = (await host.get({ scheduleId })).schedule?.payload ?? null;
  answers.malformed = await refused(host.get({ scheduleId: "1" }));
  answers.paths = (await host.getEndpoints()).endpoints.map(({ path }) => path);
  answers.tenant = await refused(client.host({ installId: INSTALL_ID!, tenantId: "other" }).list());
  answers.large = await refused(host.create({ ...input, payload: { text: "x".repeat(300_000) } }));
  answers.deleted = await host.delete({ scheduleId });
  answers.missing = await host.get({ scheduleId });
}
await client.close();
console.log(JSON.stringify(answers));
