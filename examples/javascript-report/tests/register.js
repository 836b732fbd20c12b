// node --import ./tests/register.js: what the host offers becomes the fake host in the tests.
import { register } from "node:module";

const fakeHost = JSON.stringify(new URL("fake_host.js", import.meta.url).href);
const hooks = `
export async function resolve(specifier, context, next) {
  if (!specifier.startsWith("alga:extension/")) return next(specifier, context);
  return { url: ${fakeHost}, shortCircuit: true };
}`;
register("data:text/javascript," + encodeURIComponent(hooks));
