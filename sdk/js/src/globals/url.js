import ModelURL from "core-js-pure/actual/url/index.js";
import ModelURLSearchParams from "core-js-pure/actual/url-search-params/index.js";

// esbuild replaces `globalThis.URL` with a name of this file, but not with an import of it.
const URL = ModelURL;
const URLSearchParams = ModelURLSearchParams;

export { URL, URLSearchParams, URL as "globalThis.URL", URLSearchParams as "globalThis.URLSearchParams" };
