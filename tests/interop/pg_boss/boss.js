// The platform's job runner: pg-boss, told by lines of JSON on its input what the platform's code
// would do, and reporting by lines of JSON what it fires.
//
//   node boss.js pg-boss-10 DSN SCHEMA
import { createInterface } from "node:readline";

const [, , module, connectionString, schema] = process.argv;
const loaded = await import(module);
const PgBoss = loaded.PgBoss ?? loaded.default;
const boss = new PgBoss({ connectionString, schema, cronMonitorIntervalSeconds: 1, cronWorkerIntervalSeconds: 1 });

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const commands = {
  async schedule(name) {
    await boss.createQueue(name);
    await commands.work(name);
    await boss.schedule(name, "* * * * *", { name }, { retryLimit: 3, retryBackoff: true, tz: "UTC" });
  },
  async work(name) {
    await boss.work(name, { pollingIntervalSeconds: 0.5 }, async (jobs) => {
      for (const job of jobs) say({ fired: job.name });
    });
  },
  async stop() {
    await boss.stop({ graceful: true, wait: true, timeout: 5000 });
    process.exit(0);
  },
};

boss.on("error", (error) => say({ error: error.message }));
await boss.start();
say({ done: "start" });
for await (const line of createInterface({ input: process.stdin })) {
  const [command, name] = JSON.parse(line);
  try {
    await commands[command](name);
    say({ done: command });
  } catch (error) {
    say({ refused: command, reason: error.message });
  }
}
