// A host in memory, without the service's rules: `ext-scheduler dev` has those.
export const schedules = [];
export const logged = [];

export function reset() {
  schedules.length = 0;
  logged.length = 0;
}

export const logInfo = (message) => logged.push(message);
export const listSchedules = () => schedules;

export function createSchedule(input) {
  schedules.push({ id: String(schedules.length), ...input });
  return { success: true, scheduleId: schedules.at(-1).id };
}

export function call(handler, method, url, body) {
  const encoded = body === undefined ? undefined : new TextEncoder().encode(body);
  const context = { tenantId: "tenant", extensionId: "extension" };
  const response = handler({ context, http: { method, url, headers: [], body: encoded } });
  return { status: response.status, body: JSON.parse(new TextDecoder().decode(response.body)) };
}
