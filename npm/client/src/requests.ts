import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";

import { errors, headers, type Msg, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node";

import {
  CHANGES,
  CONTENT_TYPE_HEADER,
  CONTEXT_HEADER,
  DEADLINE_HEADER,
  DEFAULT_LIFETIME_S,
  ERROR_CODE_HEADER,
  HOST_AUDIENCE,
  JSON_CONTENT_TYPE,
  MAX_BODY_BYTES,
  NUMBERS,
  TRACE_HEADER,
  type Code,
  type ErrorBody,
} from "./contract.js";
import { ServiceError } from "./errors.js";
import { bodySha256, signContext, type SigningKey } from "./token.js";

/** The install that a host acts for, as far as it knows it; what is set is checked. */
export interface InstallContext {
  readonly installId: string;
  readonly tenantId?: string;
  readonly versionId?: string;
  readonly extensionId?: string;
  /** The capabilities granted to this execution; `cap:scheduler.manage` must be among them. */
  readonly providers?: readonly string[];
  readonly traceparent?: string;
}

/** `jti` names an earlier request: a change is made at most once for each. */
export interface Repeatable {
  readonly jti?: string;
}

/** Milliseconds. The delay between attempts doubles up to `maxDelayMs`, its upper half random. */
export interface RequestSettings {
  readonly attemptTimeoutMs: number;
  readonly totalTimeoutMs: number;
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
}

export const DEFAULT_SETTINGS: RequestSettings = {
  attemptTimeoutMs: 6_000,
  totalTimeoutMs: 15_000,
  firstDelayMs: 100,
  maxDelayMs: 2_000,
};

interface Pending {
  readonly install: InstallContext;
  readonly op: string;
  readonly body: Uint8Array;
  readonly jti: string;
  readonly deadline: number;
}

/** Sends signed requests over a connection, which its owner closes. */
export class SignedRequests {
  readonly #connection: NatsConnection;
  readonly #key: () => SigningKey;
  readonly #settings: RequestSettings;

  constructor(
    connection: NatsConnection,
    key: () => SigningKey,
    settings: Partial<RequestSettings> = {},
  ) {
    this.#connection = connection;
    this.#key = key;
    this.#settings = { ...DEFAULT_SETTINGS, ...settings };
  }

  /**
   * The result of an operation. Sends the same body under the same `jti`, each time with a fresh
   * token, until it is answered or the time is over.
   *
   * Rejects with a `ServiceError`; with code `UNAVAILABLE` it may or may not have been done, and can
   * be repeated with its `requestId` as `jti`.
   */
  async ask<Output>(
    install: InstallContext,
    op: string,
    input: object,
    repeat: Repeatable = {},
  ): Promise<Output> {
    const jti = repeat.jti ?? randomUUID();
    const body = encoded(input, jti);
    const deadline = performance.now() + this.#settings.totalTimeoutMs;
    const reply = await this.#sendWithRetries({ install, op, body, jti, deadline });
    const result = readBody(reply, jti);
    // A change says by `success` how it ended; of a read it means that there is no result.
    if (result.success === false && !CHANGES.includes(op)) throw refusal(reply, jti);
    return result as Output;
  }

  async #sendWithRetries(pending: Pending): Promise<Msg> {
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.#sendOnce(pending);
      } catch (error) {
        if (!(error instanceof ServiceError) || error.code !== "UNAVAILABLE") throw error;
        const delay = this.#delayMs(failures, error.retryAfterMs ?? 0);
        // A shorter attempt would expire before the service could answer.
        const next = performance.now() + delay + this.#settings.firstDelayMs;
        if (this.#connection.isClosed() || next >= pending.deadline) throw error;
        await pause(delay);
      }
    }
  }

  #delayMs(failures: number, retryAfterMs: number): number {
    const { firstDelayMs, maxDelayMs } = this.#settings;
    const delay = Math.min(firstDelayMs * 2 ** Math.min(failures, 16), maxDelayMs);
    return Math.max(delay * (0.5 + Math.random() / 2), retryAfterMs);
  }

  async #sendOnce(pending: Pending): Promise<Msg> {
    const left = pending.deadline - performance.now();
    const timeout = Math.max(1, Math.min(this.#settings.attemptTimeoutMs, left));
    const subject = `${HOST_AUDIENCE}.${pending.op}`;
    let reply: Msg;
    try {
      reply = await this.#connection.request(subject, pending.body, {
        timeout,
        headers: this.#headers(pending, timeout),
      });
    } catch (error) {
      throw new ServiceError({ code: "UNAVAILABLE", error: unavailable(error) }, pending.jti);
    }
    if (reply.headers?.has(ERROR_CODE_HEADER)) throw refusal(reply, pending.jti);
    return reply;
  }

  #headers(pending: Pending, timeoutMs: number): MsgHdrs {
    const { install, op, body, jti } = pending;
    const now = Date.now();
    const iat = Math.floor(now / 1000);
    const key = this.#key();
    const claims = {
      iss: key.issuer,
      aud: HOST_AUDIENCE,
      iat,
      exp: iat + DEFAULT_LIFETIME_S,
      jti,
      op,
      body_sha256: bodySha256(body),
      install_id: install.installId,
      ...(install.tenantId === undefined ? {} : { tenant_id: install.tenantId }),
      ...(install.versionId === undefined ? {} : { version_id: install.versionId }),
      ...(install.extensionId === undefined ? {} : { extension_id: install.extensionId }),
      ...(install.providers === undefined ? {} : { providers: [...install.providers] }),
    };
    const sent = headers();
    sent.set(CONTENT_TYPE_HEADER, JSON_CONTENT_TYPE);
    sent.set(CONTEXT_HEADER, signContext(claims, key));
    sent.set(DEADLINE_HEADER, String(Math.floor(now + timeoutMs)));
    if (install.traceparent !== undefined) sent.set(TRACE_HEADER, install.traceparent);
    return sent;
  }
}

function encoded(input: object, jti: string): Uint8Array {
  const refuse = (error: string): never => {
    throw new ServiceError({ code: "VALIDATION_FAILED", error }, jti);
  };
  let text: string;
  try {
    text = JSON.stringify(input);
  } catch {
    return refuse("Request cannot be encoded");
  }
  const body = new TextEncoder().encode(text);
  return body.length > MAX_BODY_BYTES ? refuse("Request is too large") : body;
}

function unavailable(error: unknown): string {
  const nobody = error instanceof errors.NoRespondersError
    || (error instanceof errors.RequestError && error.isNoResponders());
  return nobody ? "No scheduler service is running" : "The scheduler service did not answer";
}

function refusal(reply: Msg, jti: string): ServiceError {
  const body = readBody(reply, jti);
  const { code, error, retryAfterMs, fieldErrors } = body as Partial<ErrorBody>;
  if (code === undefined || !(code in NUMBERS) || typeof error !== "string") return unreadable(jti);
  return new ServiceError(
    {
      code: code as Code,
      error,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(fieldErrors === undefined ? {} : { fieldErrors }),
    },
    jti,
  );
}

function readBody(reply: Msg, jti: string): Record<string, unknown> {
  try {
    const body: unknown = reply.json();
    if (typeof body === "object" && body !== null) return body as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw unreadable(jti);
}

function unreadable(jti: string): ServiceError {
  return new ServiceError({ code: "INTERNAL", error: "The answer of the service cannot be read" }, jti);
}
