// typescript-report: makes a report on a schedule that it sets up itself.
import { logInfo } from "alga:extension/logging";
import { createSchedule, listSchedules } from "alga:extension/scheduler";
import type { Handler, HttpRequest } from "alga:extension/types";

type Answer = [status: number, body: unknown];

const SCHEDULE = "report";
const CRON = "*/5 * * * *";
const routes: Record<string, (http: HttpRequest) => Answer> = {
  "POST /api/setup": setup,
  "POST /api/report": report,
};

/** What the host calls: answers one request. */
export const handler: Handler = ({ http }) => {
  const route = routes[`${http.method} ${http.url.split("?")[0]}`];
  const [status, value] = route === undefined ? notFound() : answered(route, http);
  const headers = [{ name: "content-type", value: "application/json" }];
  return { status, headers, body: new TextEncoder().encode(JSON.stringify(value)) };
};

function notFound(): Answer {
  return [404, { error: "no such endpoint" }];
}

function answered(route: (http: HttpRequest) => Answer, http: HttpRequest): Answer {
  try {
    return route(http);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return [400, { error: `the body is not understood: ${error.message}` }];
  }
}

/** Creates the schedule unless it exists, so that setup may run twice. */
function setup(): Answer {
  if (listSchedules().some((schedule) => schedule.name === SCHEDULE)) {
    return [200, { created: false }];
  }
  const result = createSchedule({
    endpoint: "POST /api/report",
    cron: CRON,
    timezone: "UTC",
    name: SCHEDULE,
    payload: JSON.stringify({ of: "the schedule" }),
  });
  return result.success ? [200, { created: true }] : [422, { error: result.error }];
}

/** Makes the report; called by the schedule, or by hand. */
function report(http: HttpRequest): Answer {
  const wanted: unknown = http.body ? JSON.parse(new TextDecoder().decode(http.body)) : {};
  const slot = http.headers.find(({ name }) => name === "x-alga-scheduled-for")?.value ?? "now";
  logInfo(`report for ${slot}: ${JSON.stringify(wanted)}`);
  return [200, { report: wanted, for: slot }];
}
