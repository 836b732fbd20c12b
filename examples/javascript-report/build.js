// node build.js SOURCE: bundles a module with what it imports, and compiles that into extension.wasm.
import { componentize } from "@bytecodealliance/componentize-js";
import { writeFile } from "node:fs/promises";
import { rolldown } from "rolldown";

const sourcePath = "build/bundle.js";
// The host's interfaces, such as alga:extension/scheduler, stay imports.
const bundle = await rolldown({ input: process.argv[2], external: /^[a-z-]+:/ });
await bundle.write({ file: sourcePath });
const { component } = await componentize({ sourcePath, witPath: "wit", worldName: "runner" });
await writeFile("extension.wasm", component);
