// Checks of the global names that QuickJS lacks and the SDK provides. Each returns whether it
// holds. `test/globals.test.js` runs them with the names of Node.js, which shows that the checks
// are right.

/** Returns whether the function throws an error with this name. */
function throws(name, fn) {
    try {
        fn();
        return false;
    } catch (error) {
        return error.name === name;
    }
}

const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const bytes = (text) => new TextEncoder().encode(text);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

const key = (text, usages) =>
    crypto.subtle.importKey("raw", bytes(text), { name: "HMAC", hash: "SHA-256" }, false, usages);

export const checks = {
    "URL has its parts": () => {
        const url = new URL("https://Ada:pw@Example.com:8443/a/../b%20c?x=1&x=2#top");
        const { origin, pathname, search, hash, username, port } = url;
        const parts = ["https://example.com:8443", "/b%20c", "?x=1&x=2", "#top", "Ada", "8443"];
        return same([origin, pathname, search, hash, username, port], parts);
    },
    "URL resolves against a base": () => new URL("../c?d", "http://a.test/x/y/z").href === "http://a.test/x/c?d",
    "URL rejects": () => throws("TypeError", () => new URL("nonsense")),
    "URL in Unicode": () => new URL("http://münchen.test/ü").href === "http://xn--mnchen-3ya.test/%C3%BC",
    "URL of an address": () => new URL("http://[::1]:80/").href === "http://[::1]/",
    "URL changes with its parameters": () => {
        const url = new URL("http://a.test/?a=1");
        url.searchParams.append("b", "x y");
        return url.href === "http://a.test/?a=1&b=x+y" && globalThis.URL === URL;
    },
    "URLSearchParams keeps all values": () => {
        const all = new URLSearchParams("a=1&b=2&a=%C3%BC+");
        all.delete("b");
        return same(all.getAll("a"), ["1", "ü "]) && all.toString() === "a=1&a=%C3%BC+" && [...all].length === 2;
    },
    "URLSearchParams of an object": () => new URLSearchParams({ a: "&", b: "é" }).toString() === "a=%26&b=%C3%A9",

    "TextEncoder writes UTF-8": () => hex(bytes("aé€😀\ud800")) === "61c3a9e282acf09f9880efbfbd",
    "TextEncoder writes into a buffer": () => {
        const into = new Uint8Array(4);
        const { read, written } = new TextEncoder().encodeInto("aé€", into);
        return read === 2 && written === 3 && hex(into) === "61c3a900";
    },
    "TextDecoder reads UTF-8": () => new TextDecoder().decode(bytes("aé€😀")) === "aé€😀",
    "TextDecoder drops the mark of the order": () =>
        new TextDecoder().decode(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)) === "a" &&
        new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)) === "\ufeffa",
    "TextDecoder replaces what is malformed": () => {
        const decode = (...all) => new TextDecoder().decode(Uint8Array.from(all));
        return (
            decode(0x61, 0xff, 0x62) === "a\ufffdb" &&
            decode(0xe2, 0x82) === "\ufffd" &&
            decode(0xf0, 0x9f, 0x61) === "\ufffda" &&
            decode(0xc0, 0xaf) === "\ufffd\ufffd" &&
            decode(0xed, 0xa0, 0x80) === "\ufffd\ufffd\ufffd" &&
            decode(0xf4, 0x90, 0x80, 0x80) === "\ufffd\ufffd\ufffd\ufffd"
        );
    },
    "TextDecoder rejects": () =>
        throws("TypeError", () => new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.of(0xff))) &&
        throws("RangeError", () => new TextDecoder("utf-7")),
    "TextDecoder reads pieces": () => {
        const decoder = new TextDecoder();
        const all = bytes("€😀");
        let text = "";
        for (const byte of all) text += decoder.decode(Uint8Array.of(byte), { stream: true });
        return text + decoder.decode() === "€😀";
    },
    "TextDecoder reads long text": () => {
        const text = "aé€😀".repeat(5000);
        return new TextDecoder().decode(bytes(text)) === text;
    },

    "structuredClone copies": () => {
        const value = { at: new Date(7), list: [1, undefined], map: new Map([[1, new Set([2])]]), bytes: bytes("a") };
        value.self = value;
        const copy = structuredClone(value);
        return (
            copy !== value &&
            copy.self === copy &&
            copy.at.getTime() === 7 &&
            copy.map.get(1).has(2) &&
            copy.bytes[0] === 97 &&
            copy.bytes !== value.bytes
        );
    },
    "structuredClone rejects functions": () => throws("DataCloneError", () => structuredClone(() => {})),

    "atob and btoa": () =>
        btoa("aÿ") === "Yf8=" && atob("Yf8=") === "aÿ" && throws("InvalidCharacterError", () => btoa("€")),

    "crypto.getRandomValues fills": () => {
        const [a, b] = [new Uint32Array(8), new Uint32Array(8)];
        return crypto.getRandomValues(a) === a && !same([...a], [...crypto.getRandomValues(b)]);
    },
    "crypto.getRandomValues has a limit": () =>
        throws("QuotaExceededError", () => crypto.getRandomValues(new Uint8Array(65_537))),
    "crypto.randomUUID has version 4": () => {
        const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
        return pattern.test(crypto.randomUUID()) && crypto.randomUUID() !== crypto.randomUUID();
    },
    "crypto.subtle.digest": async () => {
        const digests = await Promise.all(
            ["SHA-1", { name: "SHA-256" }, "SHA-384", "sha-512"].map((name) =>
                crypto.subtle.digest(name, bytes("abc")),
            ),
        );
        return same(
            digests.map((digest) => hex(digest).slice(0, 16)),
            ["a9993e364706816a", "ba7816bf8f01cfea", "cb00753f45a35e8b", "ddaf35a193617aba"],
        );
    },
    "crypto.subtle.sign makes an HMAC": async () => {
        const text = "what do ya want for nothing?";
        const mac = await crypto.subtle.sign("HMAC", await key("Jefe", ["sign"]), bytes(text));
        return hex(mac) === "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    },
    "crypto.subtle.verify compares": async () => {
        const both = await key("secret", ["sign", "verify"]);
        const mac = new Uint8Array(await crypto.subtle.sign("HMAC", both, bytes("text")));
        const right = await crypto.subtle.verify("HMAC", both, mac, bytes("text"));
        mac[31] ^= 1;
        const wrong = await crypto.subtle.verify("HMAC", both, mac, bytes("text"));
        const short = await crypto.subtle.verify("HMAC", both, mac.slice(0, 31), bytes("text"));
        return right && !wrong && !short;
    },
    "a key is only for its usages": async () => {
        const sign = await key("secret", ["sign"]);
        const refused = await crypto.subtle.verify("HMAC", sign, bytes("a"), bytes("a")).catch((error) => error);
        return (
            refused.name === "InvalidAccessError" && sign.type === "secret" && sign.algorithm.hash.name === "SHA-256"
        );
    },

    "timers fire in order, with arguments": async () => {
        const fired = [];
        await new Promise((done) => {
            setTimeout(done, 60);
            setTimeout((...args) => fired.push(args), 30, "b", 2);
            setTimeout(() => fired.push(["a"]), 1);
            clearTimeout(setTimeout(() => fired.push(["never"]), 10));
            clearTimeout(undefined);
        });
        return same(fired, [["a"], ["b", 2]]);
    },
    "an interval repeats until it is cleared": async () => {
        let count = 0;
        await new Promise((done) => {
            const timer = setInterval(() => {
                if (++count < 3) return;
                clearInterval(timer);
                done();
            }, 5);
        });
        await new Promise((done) => setTimeout(done, 20));
        return count === 3;
    },
    "Headers joins values": () => {
        const headers = new Headers({ "X-B": "1 " });
        headers.append("x-b", "2");
        headers.append("Set-Cookie", "a=1");
        headers.append("set-cookie", "b=2");
        headers.set("x-a", "é");
        return (
            same([...headers.keys()], ["set-cookie", "set-cookie", "x-a", "x-b"]) &&
            headers.get("x-b") === "1, 2" &&
            same(headers.getSetCookie(), ["a=1", "b=2"]) &&
            headers.get("none") === null &&
            headers.has("X-A") &&
            same([...new Headers(headers)], [...headers])
        );
    },
    "Headers changes": () => {
        const headers = new Headers([["a", "1"], ["b", "2"]]);
        headers.delete("A");
        headers.set("B", 3);
        const seen = [];
        headers.forEach((value, name) => seen.push(name, value));
        return same(seen, ["b", "3"]);
    },
    "Headers rejects": () => throws("TypeError", () => new Headers({ "a b": "1" })),
    "queueMicrotask runs before timers": async () => {
        const order = [];
        await new Promise((done) => {
            setTimeout(() => done(order.push("timer")), 1);
            queueMicrotask(() => order.push("microtask"));
            order.push("now");
        });
        return same(order, ["now", "microtask", "timer"]);
    },
    "Math.random stays in its range": () => {
        const numbers = Array.from({ length: 1000 }, () => Math.random());
        const mean = numbers.reduce((sum, number) => sum + number) / numbers.length;
        return numbers.every((number) => number >= 0 && number < 1) && mean > 0.4 && mean < 0.6;
    },
    "performance.now grows": () => performance.now() <= performance.now(),
};

/** Runs all checks. A check that throws has the text of its error. */
export async function runChecks() {
    const results = {};
    for (const [name, check] of Object.entries(checks)) {
        try {
            results[name] = await check();
        } catch (error) {
            results[name] = `${error.name}: ${error.message}`;
        }
    }
    return results;
}
