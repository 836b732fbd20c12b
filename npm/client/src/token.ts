import { createHash, createHmac, createPrivateKey, sign as signBytes } from "node:crypto";
import { readFileSync, statSync } from "node:fs";

import { ED25519_NAMES, HOST_AUDIENCE, HS256, MIN_SECRET_BYTES, TOKEN_TYPE, type Claims } from "./contract.js";
import { InvalidKeySetError } from "./errors.js";

/** A key that can sign: `issuer` is the only `iss` it may sign for. */
export interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly issuer: string;
  readonly sign: (message: string) => Buffer;
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** The base64url SHA-256 of the exact bytes of a body, an empty one included. */
export function bodySha256(body: Uint8Array): string {
  return createHash("sha256").update(body).digest("base64url");
}

/** The token for these claims. */
export function signContext(claims: Claims, key: SigningKey): string {
  const message = `${encode({ alg: key.alg, kid: key.kid, typ: TOKEN_TYPE })}.${encode(claims)}`;
  return `${message}.${key.sign(message).toString("base64url")}`;
}

/**
 * The first key of a JWK set that can sign for an audience.
 *
 * The first, so that a key appended for rotation is not used before the old one is removed.
 */
export function signingKey(document: string, audience: string = HOST_AUDIENCE): SigningKey {
  let keys: unknown;
  try {
    keys = (JSON.parse(document.replace(/^\uFEFF/, "")) as { keys?: unknown } | null)?.keys;
  } catch {
    throw new InvalidKeySetError("the key set is not JSON");
  }
  if (!Array.isArray(keys)) throw new InvalidKeySetError("the key set has no list 'keys'");
  for (const jwk of keys as readonly Record<string, unknown>[]) {
    const { kid, alg, ext_iss: issuer, ext_aud: audiences } = jwk;
    if (typeof kid !== "string" || typeof alg !== "string" || typeof issuer !== "string") {
      throw new InvalidKeySetError("a key lacks kid, alg or ext_iss");
    }
    if (!Array.isArray(audiences) || !audiences.includes(audience)) continue;
    const sign = signer(jwk, kid, alg);
    if (sign !== undefined) return { kid, alg, issuer, sign };
  }
  throw new InvalidKeySetError(`no key can sign for ${audience}`);
}

/** The signing key of a file, read again when it changes; one that breaks leaves the last in use. */
export function keyFromFile(file: string, audience: string = HOST_AUDIENCE): () => SigningKey {
  const read = (): SigningKey => signingKey(readFileSync(file, "utf8"), audience);
  let changed = statSync(file).mtimeMs;
  let key = read();
  return () => {
    try {
      const now = statSync(file).mtimeMs;
      if (now !== changed) {
        changed = now;
        key = read();
      }
    } catch {
      // The file may be in the middle of being replaced.
    }
    return key;
  };
}

function signer(
  jwk: Record<string, unknown>,
  kid: string,
  alg: string,
): ((message: string) => Buffer) | undefined {
  if (alg === HS256) {
    if (typeof jwk.k !== "string") return undefined;
    const secret = Buffer.from(jwk.k, "base64url");
    if (secret.length < MIN_SECRET_BYTES) throw new InvalidKeySetError(`key '${kid}': secret is too short`);
    return (message) => createHmac("sha256", secret).update(message).digest();
  }
  if (!ED25519_NAMES.includes(alg)) throw new InvalidKeySetError(`key '${kid}': unknown algorithm`);
  if (typeof jwk.d !== "string") return undefined;
  try {
    const key = createPrivateKey({ key: jwk as JsonWebKeyInput, format: "jwk" });
    return (message) => signBytes(null, Buffer.from(message), key);
  } catch {
    throw new InvalidKeySetError(`key '${kid}': not an Ed25519 key`);
  }
}

type JsonWebKeyInput = Record<string, string>;
