import { wit } from "../backend.js";
import { toText } from "../payload.js";
import { mine } from "./arguments.js";

/** Returns the values of a header field of the current request, in order of arrival. */
export function header(name) {
    return wit.http.header(mine("`http.header`"), toText(name, "the name of a header field"));
}

/** Returns all header fields of the current request, as pairs of name and value. */
export function headers() {
    return wit.http.headers(mine("`http.headers`"));
}

/** Returns path, scheme, authority and peer of the current request. */
export function head() {
    return wit.http.head(mine("`http.head`")) ?? undefined;
}
