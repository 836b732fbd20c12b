let running;
/** The host of the extension that is running. Throws outside a call. */
export function current() {
    if (running === undefined)
        throw new Error("the host answers within a call alone: use FakeHost.call");
    return running;
}
/** Run `call` with a host. */
export function within(host, call) {
    const before = running;
    running = host;
    try {
        return call();
    }
    finally {
        running = before;
    }
}
