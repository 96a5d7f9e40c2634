// Replaces global names of Node.js in a module that is tested.

export { fetch, fetch as "globalThis.fetch" } from "fanfare:fetch";
