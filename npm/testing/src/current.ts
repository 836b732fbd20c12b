// The host that answers the extension which is running: modules have no other way to find it.
import type { HostFunctions } from "./host.js";

let running: HostFunctions | undefined;

/** The host of the extension that is running. Throws outside a call. */
export function current(): HostFunctions {
  if (running === undefined) throw new Error("the host answers within a call alone: use FakeHost.call");
  return running;
}

/** Run `call` with a host. */
export function within<Result>(host: HostFunctions, call: () => Result): Result {
  const before = running;
  running = host;
  try {
    return call();
  } finally {
    running = before;
  }
}
