// Runs a JavaScript extension from its sources: compiled once, to be the component of them all.
//
// The Runner has the extension as one script, with what maps its lines to the author's files. It is
// a CommonJS module: what is evaluated while the component runs cannot be an ES module.
import { read } from "ext-scheduler:development/sources";
import * as context from "alga:extension/context";
import * as logging from "alga:extension/logging";
import * as scheduler from "alga:extension/scheduler";
import * as storage from "alga:extension/storage";

const LOAD_METHOD = "LOAD";
const SCRIPT = "script.js";
const LINES_BEFORE = 2; // of the function that the script becomes the body of
const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const host = {
  "alga:extension/context": context,
  "alga:extension/logging": logging,
  "alga:extension/scheduler": scheduler,
  "alga:extension/storage": storage,
};

/** Answers one request. */
export function handler(request) {
  const { script, map } = JSON.parse(read());
  const lines = () => new SourceLines(JSON.parse(map));
  if (request.http.method === LOAD_METHOD) return answerOfLoading(script, lines);
  try {
    const answer = load(script)(request);
    return typeof answer?.then === "function" ? answer.then(checkedAnswer) : checkedAnswer(answer);
  } catch (error) {
    // As the runtime prints an uncaught exception, which then follows, but with the author's lines.
    const frames = lines().framesOf(error).map(({ file, line }) => `  @${file}:${line}:1`);
    if (frames.length > 0) console.error([String(error), "Stack:", ...frames].join("\n"));
    throw error;
  }
}

function load(script) {
  const exports = {};
  const text = `"use strict"; ${script}\n//# sourceURL=${SCRIPT}`;
  new Function("require", "exports", text)((name) => host[name], exports);
  if (typeof exports.handler !== "function") throw new TypeError("no function handler is exported");
  return exports.handler;
}

/** What a handler returned; throws where the host cannot take it. */
function checkedAnswer(answer) {
  if (answer === null || typeof answer !== "object") {
    throw new TypeError(`handler returned ${answer}, not an object with status and headers`);
  }
  const { status, headers, body } = answer;
  const right = {
    "status must be a number from 0 to 65535":
      Number.isInteger(status) && status >= 0 && status < 65536,
    "headers must be a list of objects with name and value":
      Array.isArray(headers) && headers.every(isHeader),
    "body must be a Uint8Array, or be left out":
      body === undefined || body === null || body instanceof Uint8Array,
  };
  const wrong = Object.keys(right).find((rule) => !right[rule]);
  if (wrong !== undefined) throw new TypeError(`the answer cannot be used: ${wrong}`);
  return answer;
}

function isHeader(header) {
  return typeof header?.name === "string" && typeof header.value === "string";
}

/** 204, or 500 with file, line and message of what prevents it from being loaded. */
function answerOfLoading(script, lines) {
  try {
    load(script);
  } catch (error) {
    const { file, line, text } = lines().framesOf(error)[0] ?? lines().entry;
    const place = line === undefined ? file : `${file}:${line}`;
    const shown = text === undefined ? "" : `\n    ${text.trim()}`;
    const body = new TextEncoder().encode(`${place}: ${error}${shown}`);
    return { status: 500, headers: [], body };
  }
  return { status: 204, headers: [] };
}

/** Which line of the author's files a place of the script comes from. */
class SourceLines {
  constructor({ sources, sourcesContent, mappings }) {
    this.files = sources;
    this.texts = sourcesContent.map((text) => text.split("\n"));
    this.lines = decoded(mappings);
  }

  get entry() {
    return { file: this.files.at(-1) };
  }

  /** The author's frames of an exception, the innermost first. */
  framesOf(error) {
    const places = String(error?.stack ?? "").matchAll(/@script\.js:(\d+):(\d+)$/gm);
    return [...places].flatMap(([, line, column]) => this.at(line - LINES_BEFORE, column - 1));
  }

  at(line, column) {
    const segments = (this.lines[line - 1] ?? []).filter((segment) => segment.column <= column);
    if (segments.length === 0) return [];
    const { file, sourceLine } = segments.at(-1);
    return [
      { file: this.files[file], line: sourceLine + 1, text: this.texts[file]?.[sourceLine] },
    ];
  }
}

/** The segments of each line of the script, from a source map's base64 numbers. */
function decoded(mappings) {
  let file = 0;
  let sourceLine = 0;
  return mappings.split(";").map((line) => {
    let column = 0;
    return line
      .split(",")
      .map(numbers)
      .filter((delta) => delta.length >= 4)
      .map((delta) => {
        column += delta[0];
        file += delta[1];
        sourceLine += delta[2];
        return { column, file, sourceLine };
      });
  });
}

function numbers(text) {
  const found = [];
  let value = 0;
  let shift = 0;
  for (const character of text) {
    const digit = DIGITS.indexOf(character);
    value += (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    found.push(value & 1 ? -(value >> 1) : value >> 1);
    value = 0;
    shift = 0;
  }
  return found;
}
