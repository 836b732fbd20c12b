// A client of the scheduler, written from docs/runner-integration.md and nothing else.
import { createHash, createHmac, createPrivateKey, randomUUID, sign } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { decode, encode } from "@msgpack/msgpack";
import { connect, errors, headers } from "@nats-io/transport-node";

const ATTEMPT_MS = 6_000;
const TOTAL_MS = 15_000;

const ENCODINGS = {
  "application/json": {
    encode: (value) => Buffer.from(JSON.stringify(value)),
    decode: (bytes) => JSON.parse(Buffer.from(bytes).toString()),
  },
  "application/msgpack": { encode: (value) => encode(value), decode: (bytes) => decode(bytes) },
};

const base64url = (data) => Buffer.from(data).toString("base64url");

export function token(key, claims) {
  const header = { alg: key.alg, kid: key.kid, typ: "ext-context+jwt" };
  const signed = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(claims))}`;
  const signature = key.alg === "HS256"
    ? createHmac("sha256", Buffer.from(key.k, "base64url")).update(signed).digest()
    : sign(null, Buffer.from(signed), createPrivateKey({ key, format: "jwk" }));
  return `${signed}.${base64url(signature)}`;
}

/** What kept an operation from being considered. */
export class ServiceError extends Error {
  constructor(body) {
    super(body.error);
    Object.assign(this, body);
  }
}

export class Scheduler {
  #connection;

  constructor(connection, { key, installId, contentType = "application/msgpack" }) {
    this.#connection = connection;
    this.key = key;
    this.installId = installId;
    this.contentType = contentType;
  }

  /** The operation's result; repeats what may be repeated, under one jti. */
  async ask(op, input, jti = randomUUID()) {
    const body = ENCODINGS[this.contentType].encode(input);
    const giveUp = Date.now() + TOTAL_MS;
    for (let wait = 100; ; wait = Math.min(2 * wait, 2_000)) {
      try {
        return await this.#attempt(op, body, jti);
      } catch (error) {
        const silent = error instanceof errors.TimeoutError
          || error instanceof errors.NoRespondersError
          || (error instanceof errors.RequestError && error.isNoResponders());
        if (!(silent || error.code === "UNAVAILABLE") || Date.now() + wait > giveUp) throw error;
        await pause(wait * (0.5 + Math.random() / 2));
      }
    }
  }

  async #attempt(op, body, jti) {
    const now = Math.floor(Date.now() / 1000);
    const sent = headers();
    sent.set("Content-Type", this.contentType);
    sent.set("Ext-Deadline", String(Date.now() + ATTEMPT_MS));
    sent.set("Ext-Context", token(this.key, {
      iss: this.key.ext_iss,
      aud: "ext.scheduler",
      iat: now,
      exp: now + 60,
      jti,
      op,
      body_sha256: createHash("sha256").update(body).digest("base64url"),
      install_id: this.installId,
    }));
    const reply = await this.#connection.request(
      `ext.scheduler.${op}`, body, { timeout: ATTEMPT_MS, headers: sent },
    );
    const answer = ENCODINGS[reply.headers.get("Content-Type")].decode(reply.data);
    if (reply.headers.get("Nats-Service-Error-Code")) {
      const number = Number(reply.headers.get("Nats-Service-Error-Code"));
      throw new ServiceError({ ...answer, number });
    }
    return answer;
  }
}

export const connected = (url, user, pass) => connect({
  servers: url,
  user,
  pass,
  inboxPrefix: `_INBOX_${user}`,
  maxReconnectAttempts: -1,
  pingInterval: 10_000,
  maxPingOut: 2,
});
