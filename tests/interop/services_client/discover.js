// What the official client for NATS services sees, as one JSON object on one line.
import { Svcm } from "@nats-io/services";
import { connect } from "@nats-io/transport-node";

const { NATS_URL, NATS_USER, NATS_PASSWORD } = process.env;
const connection = await connect({
  servers: NATS_URL,
  user: NATS_USER,
  pass: NATS_PASSWORD,
  inboxPrefix: `_INBOX_${NATS_USER}`,
});
const client = new Svcm(connection).client({ strategy: "stall", stall: 2000, maxWait: 60000 });

async function all(answers) {
  const seen = [];
  for await (const answer of await answers) seen.push(answer);
  return seen.sort((a, b) => a.id.localeCompare(b.id));
}

const ping = await all(client.ping("ext-scheduler"));
const info = await all(client.info("ext-scheduler"));
const one = await all(client.info("ext-scheduler", ping[0].id));
const failed = await connection.request("ext.scheduler.admin.runNow", "refuse", { timeout: 60000 });
const stats = await all(client.stats("ext-scheduler"));
console.log(
  JSON.stringify({
    ping,
    info,
    one,
    stats,
    error: failed.headers?.get("Nats-Service-Error"),
    code: failed.headers?.get("Nats-Service-Error-Code"),
  }),
);
await connection.close();
