// `fetch` and `Headers`: requests to other servers, each with whole bodies.

import { wit } from "../backend.js";
import { later } from "../errors.js";
import { me, toMillis } from "../imports/arguments.js";
import { bytesOf, isJson, toPayload } from "../payload.js";
import { decode, encode } from "../text.js";

/** As in the Fetch standard. */
const MOST_REDIRECTS = 20;

/** The options of `fetch` that have an effect. */
const OPTIONS = ["method", "headers", "body", "redirect", "timeout"];

/** Options that change nothing here: there are no cookies, no caches and no pages. */
const IGNORED = ["cache", "credentials", "duplex", "integrity", "keepalive", "mode", "priority", "referrer"];

export class Headers {
    #fields = [];

    constructor(init = []) {
        const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
        for (const [name, value] of pairs) this.append(name, value);
    }

    append(name, value) {
        this.#fields.push([nameOf(name), String(value).trim()]);
    }

    set(name, value) {
        this.delete(name);
        this.append(name, value);
    }

    delete(name) {
        const wanted = nameOf(name);
        this.#fields = this.#fields.filter(([other]) => other !== wanted);
    }

    get(name) {
        const values = this.#all(nameOf(name));
        return values.length > 0 ? values.join(", ") : null;
    }

    getSetCookie() {
        return this.#all("set-cookie");
    }

    has(name) {
        return this.#all(nameOf(name)).length > 0;
    }

    forEach(fn, self) {
        for (const [name, value] of this) fn.call(self, value, name, this);
    }

    /** Names in order, each once with its values joined, except `set-cookie`. */
    *entries() {
        for (const name of [...new Set(this.#fields.map(([name]) => name))].sort()) {
            if (name === "set-cookie") for (const value of this.getSetCookie()) yield [name, value];
            else yield [name, this.get(name)];
        }
    }

    *keys() {
        for (const [name] of this) yield name;
    }

    *values() {
        for (const [, value] of this) yield value;
    }

    [Symbol.iterator]() {
        return this.entries();
    }

    get [Symbol.toStringTag]() {
        return "Headers";
    }

    #all(wanted) {
        return this.#fields.filter(([name]) => name === wanted).map(([, value]) => value);
    }
}

function nameOf(name) {
    const text = String(name).toLowerCase();
    if (!/^[!#$%&'*+\-.^_`|~\w]+$/.test(text)) throw new TypeError(`${JSON.stringify(text)} is no name of a header`);
    return text;
}

/** What a server has answered. */
class Response {
    #body;

    constructor({ status, headers, body }, url, redirected) {
        this.status = status;
        this.statusText = "";
        this.ok = status >= 200 && status <= 299;
        this.headers = new Headers(headers);
        this.url = url;
        this.redirected = redirected;
        this.type = "basic";
        this.bodyUsed = false;
        this.#body = body;
    }

    async text() {
        return decode(this.#take());
    }

    async json() {
        return JSON.parse(await this.text());
    }

    async bytes() {
        return this.#take();
    }

    async arrayBuffer() {
        const { buffer, byteOffset, byteLength } = this.#take();
        return buffer.slice(byteOffset, byteOffset + byteLength);
    }

    clone() {
        if (this.bodyUsed) throw new TypeError("the body of the response was read already");
        const { status, headers, url, redirected } = this;
        return new Response({ status, headers, body: this.#body.slice() }, url, redirected);
    }

    get [Symbol.toStringTag]() {
        return "Response";
    }

    #take() {
        if (this.bodyUsed) throw new TypeError("the body of the response was read already: use clone()");
        this.bodyUsed = true;
        return this.#body;
    }
}

/**
 * Sends a request to another server. Rejects with a `CallError`, whose kind says why: `forbidden`
 * without the grant `http` for the origin, `unavailable` when the server cannot be reached.
 */
export async function fetch(resource, init = {}) {
    const method = String(init.method ?? "GET").toUpperCase();
    for (const name of Object.keys(init)) {
        if (name === "signal") throw new TypeError("`fetch` has no `signal` here: set `timeout`, in milliseconds");
        if (!OPTIONS.includes(name) && !IGNORED.includes(name)) throw new TypeError(`\`fetch\` has no option ${name}`);
    }
    if (typeof resource === "object" && resource?.url !== undefined)
        throw new TypeError("`fetch` expects a URL and options: there is no Request");
    const headers = new Headers(init.headers ?? []);
    const { body, type } = bodyOf(init.body);
    if (body && (method === "GET" || method === "HEAD")) throw new TypeError(`a ${method} request has no body`);
    if (type && !headers.has("content-type")) headers.set("content-type", type);
    const redirect = init.redirect ?? "follow";
    let request = { method, url: String(resource), headers, body, timeoutMs: toMillis(init.timeout) };
    for (let redirects = 0; ; redirects++) {
        const response = await later(wit.fetch.send(me(), { ...request, headers: [...request.headers] }));
        const answer = new Response(response, request.url.split("#")[0], redirects > 0);
        const location = answer.headers.get("location");
        if (![301, 302, 303, 307, 308].includes(answer.status) || location === null || redirect === "manual")
            return answer;
        if (redirect === "error") throw new TypeError(`${request.url} redirects to ${location}`);
        if (redirects === MOST_REDIRECTS) throw new TypeError(`${resource} redirects more than ${MOST_REDIRECTS} times`);
        request = redirected(request, answer.status, location);
    }
}

/** The bytes of a body, and its content type. */
function bodyOf(value) {
    if (value === undefined || value === null) return { body: null };
    if (typeof value === "object" && Object.prototype.toString.call(value) === "[object URLSearchParams]")
        return { body: encode(String(value)), type: "application/x-www-form-urlencoded;charset=UTF-8" };
    if (isJson(value)) throw new TypeError("the body is no text and no bytes: use JSON.stringify");
    const type = typeof value === "string" ? "text/plain;charset=UTF-8" : undefined;
    return { body: bytesOf(toPayload(value)), type };
}

/** The request that follows a response with `location`, as in the Fetch standard. */
function redirected(request, status, location) {
    const url = resolve(request.url, location);
    const headers = new Headers(request.headers);
    let { method, body } = request;
    const becomesGet =
        (status === 303 && method !== "GET" && method !== "HEAD") || (status < 303 && method === "POST");
    if (becomesGet) {
        [method, body] = ["GET", null];
        for (const name of ["encoding", "language", "location", "type"]) headers.delete(`content-${name}`);
    }
    // Another server must not see the secrets for this one.
    if (originOf(url) !== originOf(request.url))
        for (const name of ["authorization", "cookie", "proxy-authorization"]) headers.delete(name);
    return { ...request, method, body, headers, url };
}

function originOf(url) {
    return /^[^:]+:\/\/[^/?#]*/.exec(url)?.[0].toLowerCase();
}

/** Resolves a reference against an absolute URL (RFC 3986, 5.2). */
function resolve(base, reference) {
    if (/^[a-z][a-z\d+.-]*:/i.test(reference)) return reference;
    const [, scheme, authority, path, query] = /^([^:]+:)(\/\/[^/?#]*)([^?#]*)(\?[^#]*)?/.exec(base);
    if (reference.startsWith("//")) return scheme + reference;
    const [, to, rest] = /^([^?#]*)(.*)$/s.exec(reference);
    if (to === "") return scheme + authority + path + (rest.startsWith("?") ? rest : (query ?? "") + rest);
    const whole = to.startsWith("/") ? to : `${path.slice(0, path.lastIndexOf("/") + 1) || "/"}${to}`;
    const segments = [];
    const all = whole.split("/").slice(1);
    for (const [index, segment] of all.entries()) {
        const last = index === all.length - 1;
        if (segment === "..") segments.pop();
        else if (segment !== ".") segments.push(segment);
        if (last && (segment === "." || segment === "..")) segments.push("");
    }
    return `${scheme}${authority}/${segments.join("/")}${rest}`;
}

export { fetch as "globalThis.fetch", Headers as "globalThis.Headers" };
