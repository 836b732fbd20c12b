// Signs the claims of a vector with each key of a set, and prints the tokens.
import { readFileSync } from "node:fs";
import { signContext, signingKey, type Claims } from "@ext-scheduler/client";

const [keyFile, claimsFile] = process.argv.slice(2) as [string, string];
const { keys } = JSON.parse(readFileSync(keyFile, "utf8")) as { keys: { kid: string; ext_aud: string[] }[] };
const claims = JSON.parse(readFileSync(claimsFile, "utf8")) as Record<string, Claims>;
const tokens = keys.map((jwk) => {
  const key = signingKey(JSON.stringify({ keys: [jwk] }), jwk.ext_aud[0]);
  return [jwk.kid, signContext(claims[jwk.kid]!, key)];
});
console.log(JSON.stringify(Object.fromEntries(tokens)));
