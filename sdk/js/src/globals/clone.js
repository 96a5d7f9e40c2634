import structuredClone from "core-js-pure/actual/structured-clone.js";

export { structuredClone, structuredClone as "globalThis.structuredClone" };
