// The kit as a test in TypeScript uses it; compiled strictly, not run.
import { FakeHost, type Fire, type Run } from "@ext-scheduler/testing";

const host = new FakeHost({ directory: new URL("./probe/", import.meta.url), limits: { maxSchedules: 2 } });
const runs: Run[] = await host.advance(60_000);
const fires: Fire[] = host.firesBetween(host.now, "2026-02-01T00:00:00Z");
const status: number | undefined = runs[0]?.response.status;
const next: Date | undefined = fires[0]?.at;
const payload: string | undefined = host.schedules[0]?.payload;
// @ts-expect-error: there is no such option
new FakeHost({ directory: ".", clock: 0 });
// @ts-expect-error: a number is no instant
host.firesBetween(0, 1);
console.log(status, next, payload);
