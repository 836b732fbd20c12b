import type { HostFunctions } from "./host.js";
/** The host of the extension that is running. Throws outside a call. */
export declare function current(): HostFunctions;
/** Run `call` with a host. */
export declare function within<Result>(host: HostFunctions, call: () => Result): Result;
