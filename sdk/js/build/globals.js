// The global names that the SDK provides, and those that a module cannot have.

/** For each global name of the SDK, its file. A component has only those that it uses. */
export const PROVIDED = {
    CryptoKey: "crypto",
    TextDecoder: "encoding",
    TextEncoder: "encoding",
    URL: "url",
    URLSearchParams: "url",
    clearInterval: "timers",
    clearTimeout: "timers",
    console: "console",
    crypto: "crypto",
    setInterval: "timers",
    setTimeout: "timers",
    structuredClone: "clone",
};

/** Global names of browsers and of Node.js without a counterpart, and what to use. */
export const MISSING = {
    Blob: "use a Uint8Array",
    Buffer: "use a Uint8Array",
    Deno: undefined,
    EventSource: "publish with `sse`, or receive with a subscription",
    File: "use a Uint8Array",
    FormData: "parse `call.text` with URLSearchParams",
    Intl: "QuickJS has no Intl",
    ReadableStream: "read the body as a whole",
    TransformStream: "read the body as a whole",
    WebAssembly: undefined,
    WebSocket: "clients connect to `sockets` of module.json",
    Worker: "broadcasts and rpc reach the other workers",
    WritableStream: "read the body as a whole",
    XMLHttpRequest: "use fetch",
    __dirname: undefined,
    __filename: undefined,
    document: undefined,
    localStorage: "keep values in variables, and hand them over with `snapshot`",
    process: "use `config` or `host.whoami`",
    sessionStorage: "keep values in variables, and hand them over with `snapshot`",
    setImmediate: "use queueMicrotask or setTimeout",
    window: undefined,
};
