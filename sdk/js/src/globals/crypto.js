// `crypto`: random values, digests, and HMAC.

import { hmac } from "@noble/hashes/hmac.js";
import { sha1 } from "@noble/hashes/legacy.js";
import { sha256, sha384, sha512 } from "@noble/hashes/sha2.js";
import { randomBytes } from "../component/random.js";

/** The most bytes of one call of `getRandomValues`, by the standard. */
const MOST_RANDOM = 65_536;

const HASHES = { "SHA-1": sha1, "SHA-256": sha256, "SHA-384": sha384, "SHA-512": sha512 };

function hashOf(algorithm) {
    const name = String(algorithm?.name ?? algorithm).toUpperCase();
    const hash = HASHES[name];
    if (!hash)
        throw new DOMException(`the SDK has SHA-1, SHA-256, SHA-384 and SHA-512, not ${name}`, "NotSupportedError");
    return { name, hash };
}

function bytesOf(data) {
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (data instanceof ArrayBuffer) return new Uint8Array(data);
    throw new TypeError("expected bytes: an ArrayBuffer, a typed array or a DataView");
}

const exactly = (bytes) => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);

/** The bytes of each key, which scripts cannot read from the key. */
const secrets = new WeakMap();

export class CryptoKey {
    constructor(algorithm, extractable, usages) {
        this.type = "secret";
        this.algorithm = algorithm;
        this.extractable = extractable;
        this.usages = usages;
    }
}

function hmacOnly(algorithm) {
    const name = String(algorithm?.name ?? algorithm).toUpperCase();
    if (name !== "HMAC") throw new DOMException(`the SDK signs with HMAC, not with ${name}`, "NotSupportedError");
}

function secretFor(usage, algorithm, key) {
    hmacOnly(algorithm);
    if (!key?.usages?.includes(usage)) throw new DOMException(`the key is not for "${usage}"`, "InvalidAccessError");
    return { hash: hashOf(key.algorithm.hash).hash, secret: secrets.get(key) };
}

/** Compares in a time that does not depend on the content. */
function same(a, b) {
    let different = a.length ^ b.length;
    for (let i = 0; i < a.length; i++) different |= a[i] ^ (b[i] ?? 0);
    return different === 0;
}

const subtle = {
    async digest(algorithm, data) {
        return exactly(hashOf(algorithm).hash(bytesOf(data)));
    },

    async importKey(format, data, algorithm, extractable, usages) {
        hmacOnly(algorithm);
        if (format !== "raw")
            throw new DOMException(`the SDK imports keys as "raw", not "${format}"`, "NotSupportedError");
        const bytes = bytesOf(data).slice();
        if (bytes.length === 0) throw new DOMException("the key is empty", "DataError");
        const hash = { name: hashOf(algorithm.hash).name };
        const key = new CryptoKey({ name: "HMAC", hash, length: bytes.length * 8 }, extractable, [...usages]);
        secrets.set(key, bytes);
        return key;
    },

    async exportKey(format, key) {
        if (format !== "raw" || !key.extractable)
            throw new DOMException("the key cannot be exported", "InvalidAccessError");
        return exactly(secrets.get(key).slice());
    },

    async sign(algorithm, key, data) {
        const { hash, secret } = secretFor("sign", algorithm, key);
        return exactly(hmac(hash, secret, bytesOf(data)));
    },

    async verify(algorithm, key, signature, data) {
        const { hash, secret } = secretFor("verify", algorithm, key);
        return same(hmac(hash, secret, bytesOf(data)), bytesOf(signature));
    },
};

export const crypto = {
    subtle,

    getRandomValues(array) {
        const bytes = bytesOf(array);
        if (bytes.length > MOST_RANDOM) {
            throw new DOMException(`at most ${MOST_RANDOM} random bytes at once`, "QuotaExceededError");
        }
        bytes.set(randomBytes(bytes.length));
        return array;
    },

    randomUUID() {
        const bytes = Uint8Array.from(randomBytes(16));
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
        return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
    },
};

export { crypto as "globalThis.crypto" };
