import URL from "core-js-pure/actual/url/index.js";
import URLSearchParams from "core-js-pure/actual/url-search-params/index.js";

export { URL, URLSearchParams, URL as "globalThis.URL", URLSearchParams as "globalThis.URLSearchParams" };
