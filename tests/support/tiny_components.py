"""Components of a few hundred bytes, written in WebAssembly text: they compile in no time."""

from pathlib import Path

from wasmtime import wat2wasm

from runner_bridge.dev_runner.components import install

TYPES = """
  (type $context' (record
    (field "request-id" (option string)) (field "tenant-id" string)
    (field "extension-id" string) (field "install-id" (option string))
    (field "version-id" (option string))))
  (export $context "context-data" (type $context'))
  (type $header' (record (field "name" string) (field "value" string)))
  (export $header "http-header" (type $header'))
  (type $http' (record
    (field "method" string) (field "url" string) (field "headers" (list $header))
    (field "body" (option (list u8)))))
  (export $http "http-request" (type $http'))
  (type $request' (record (field "context" $context) (field "http" $http)))
  (export $request "execute-request" (type $request'))
  (type $response' (record
    (field "status" u16) (field "headers" (list $header)) (field "body" (option (list u8)))))
  (export $response "execute-response" (type $response'))
"""
# The response record in memory: status at 0, headers at 4 and 8, body at 12 (whether), 16 and 20.
NO_CONTENT = "(i32.store16 (i32.const 0) (i32.const 204)) (i32.const 0)"
LOOP = "(loop $again (br $again)) (unreachable)"
RECURSE = "(call $handler (local.get 0))"


def response_of(size: int, status: int = 200) -> str:
    """Give a handler whose body is the first ``size`` bytes of its memory."""
    return f"""
      (i32.store16 (i32.const 0) (i32.const {status}))
      (i32.store8 (i32.const 12) (i32.const 1))
      (i32.store (i32.const 20) (i32.const {size}))
      (i32.const 0)"""


def component(handler: str = NO_CONTENT, *, pages: int = 2, start: str = "") -> bytes:
    """Assemble a component; ``pages`` of 64 KiB, ``start`` runs when it is instantiated."""
    start_function = f"(func $start {start}) (start $start)" if start else ""
    return bytes(
        wat2wasm(f"""
(component {TYPES}
  (core module $module
    (memory (export "memory") {pages})
    (global $next (mut i32) (i32.const 1024))
    {start_function}
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.add (global.get $next)
        (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16)))))
    (func $handler (export "handler") (param i32) (result i32) {handler}))
  (core instance $instance (instantiate $module))
  (func $handler (param "request" $request) (result $response)
    (canon lift (core func $instance "handler")
      (memory (core memory $instance "memory"))
      (realloc (core func $instance "realloc"))))
  (export "handler" (func $handler)))""")
    )


def install_bytes(content: bytes, directory: Path) -> str:
    """Install a component that is not in a file yet; give its content hash."""
    path = directory.parent / "new.wasm"
    path.write_bytes(content)
    return install(path, directory)
