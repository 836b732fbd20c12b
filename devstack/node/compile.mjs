// node compile.mjs PACKAGE SOURCE: compiles the interpreter in this directory with a package's compiler.
import { readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [directory, source] = process.argv.slice(2);
const compiler = `${directory}/node_modules/@bytecodealliance/componentize-js`;
const { exports } = JSON.parse(await readFile(`${compiler}/package.json`, "utf8"));
const { componentize } = await import(pathToFileURL(`${compiler}/${exports.import}`));
const { component } = await componentize({
  sourcePath: source,
  witPath: "wit",
  worldName: "interpreter",
});
await writeFile("interpreter.wasm", component);
