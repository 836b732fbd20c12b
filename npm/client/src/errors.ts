import { NUMBERS, type Code, type ErrorBody } from "./contract.js";

/** What kept an operation from being considered at all, or why a read has no result. */
export class ServiceError extends Error {
  override readonly name = "ServiceError";
  readonly code: Code;
  /** What to quote to an operator, and the `jti` to repeat the request with. */
  readonly requestId: string;
  readonly retryAfterMs: number | undefined;
  readonly fieldErrors: Readonly<Record<string, string>> | undefined;

  constructor(body: Pick<ErrorBody, "code" | "error" | "retryAfterMs" | "fieldErrors">, requestId: string) {
    super(body.error);
    this.code = body.code;
    this.requestId = requestId;
    this.retryAfterMs = body.retryAfterMs;
    this.fieldErrors = body.fieldErrors;
  }

  /** The number of the code, as in the header `Nats-Service-Error-Code`. */
  get number(): number {
    return NUMBERS[this.code];
  }
}

/** A key set that cannot be used to sign; the message shows nothing of a key. */
export class InvalidKeySetError extends Error {
  override readonly name = "InvalidKeySetError";
}

/** No server can be reached, or it refuses the login. */
export class CannotConnectError extends Error {
  override readonly name = "CannotConnectError";
}
