// node build.js SOURCE: compiles one JavaScript file into extension.wasm, a component of world `runner`.
import { componentize } from "@bytecodealliance/componentize-js";
import { writeFile } from "node:fs/promises";

const { component } = await componentize({
  sourcePath: process.argv[2],
  witPath: "wit",
  worldName: "runner",
});
await writeFile("extension.wasm", component);
