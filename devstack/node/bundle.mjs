// node bundle.mjs PACKAGE ENTRY: prints an extension as one script, with its source map, as JSON.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [directory, entry] = process.argv.slice(2);
const installed = createRequire(`${directory}/package.json`).resolve("rolldown");
const { rolldown } = await import(pathToFileURL(installed));
try {
  const bundle = await rolldown({
    cwd: directory,
    input: entry,
    external: /^[a-z-]+:/,
    logLevel: "silent",
  });
  const { output } = await bundle.generate({
    dir: directory,
    format: "cjs",
    exports: "named",
    sourcemap: true,
  });
  const [{ code, imports, map: written }] = output;
  // Of a module without a statement there is none.
  const map = written ?? { sources: [entry], sourcesContent: [""], mappings: "" };
  process.stdout.write(JSON.stringify({ script: code, map: JSON.stringify(map), imports }));
} catch (error) {
  const errors = error.errors ?? [error];
  process.stderr.write(errors.map((one) => one.message).join("\n"));
  process.exitCode = 1;
}
