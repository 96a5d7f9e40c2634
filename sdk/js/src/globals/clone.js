import modelClone from "core-js-pure/actual/structured-clone.js";

const structuredClone = modelClone;

export { structuredClone, structuredClone as "globalThis.structuredClone" };
