/** The interfaces of the contract, and one of WASI, under the names that the SDK has for them. */
const INTERFACES = [
    "broadcast",
    "channels",
    "channelsAwait",
    "config",
    "durable",
    "environment",
    "events",
    "fetch",
    "host",
    "http",
    "master",
    "masterAwait",
    "messages",
    "nodes",
    "rpc",
    "sessions",
    "sessionsAwait",
    "sse",
];

/**
 * The functions of the contract, by interface. The component and the tests in memory each set their
 * own.
 *
 * @type {Record<string, any>}
 */
export const wit = {};

for (const name of INTERFACES) {
    Object.defineProperty(wit, name, {
        configurable: true,
        get() {
            throw new Error(
                "there is no host yet: code outside of handlers runs once, when the module is built. " +
                    "Move it into a handler or a startup",
            );
        },
    });
}

/** Sets the functions of all interfaces. */
export function use(interfaces) {
    for (const name of INTERFACES) {
        Object.defineProperty(wit, name, { configurable: true, writable: true, value: interfaces[name] });
    }
}
