// node build.js WIT_DIRECTORY TARGET: compiles guest.js into a component of world `runner`.
import { componentize } from "@bytecodealliance/componentize-js";
import { writeFile } from "node:fs/promises";

const [witPath, target] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath: new URL("guest.js", import.meta.url).pathname,
  witPath,
  worldName: "runner",
});
await writeFile(target, component);
