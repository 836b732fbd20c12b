export { connectScheduler, SchedulerClient, type SchedulerOptions } from "./connect.js";
export * from "./contract.js";
export { CannotConnectError, InvalidKeySetError, ServiceError } from "./errors.js";
export { SchedulerHost } from "./host.js";
export {
  DEFAULT_SETTINGS,
  SignedRequests,
  type InstallContext,
  type Repeatable,
  type RequestSettings,
} from "./requests.js";
export { bodySha256, keyFromFile, signContext, signingKey, type SigningKey } from "./token.js";
