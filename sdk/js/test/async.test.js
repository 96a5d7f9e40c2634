// Async functions of a component, which the SDK runs as generators.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { bind, caller, carryThroughPromises, enter, leave } from "../src/current.js";

const { then } = Promise.prototype;
const { queueMicrotask } = globalThis;
let run;

before(() => {
    carryThroughPromises();
    run = (body) => globalThis.__fanfareAsync(undefined, [], body);
});
after(() => {
    Promise.prototype.then = then;
    globalThis.queueMicrotask = queueMicrotask;
});

/** Runs a function as part of a call, as the component does. */
function during(call, fn) {
    const previous = enter(call);
    try {
        return fn();
    } finally {
        leave(previous);
    }
}

test("a function without a wait returns its value, and an error rejects", async () => {
    assert.equal(
        await run(function* () {
            return 7;
        }),
        7,
    );
    const failing = function* () {
        throw new Error("at once");
    };
    const promise = run(failing);
    await assert.rejects(promise, /at once/);
});

test("a function gets its arguments and its receiver", async () => {
    const body = function* (a, b = 2) {
        return [this.name, a, b];
    };
    assert.deepEqual(await globalThis.__fanfareAsync({ name: "shop" }, [1], body), ["shop", 1, 2]);
});

test("waits resolve, throw and can be caught", async () => {
    const body = function* () {
        const first = yield Promise.resolve(1);
        try {
            yield Promise.reject(new Error("caught"));
        } catch (error) {
            return [first, yield 2, error.message];
        }
    };
    assert.deepEqual(await run(body), [1, 2, "caught"]);
    const late = function* () {
        yield null;
        throw new Error("late");
    };
    await assert.rejects(run(late), /late/);
    const rejected = function* () {
        yield Promise.reject(new Error("not caught"));
    };
    await assert.rejects(run(rejected), /not caught/);
});

test("each function keeps its call over its waits, and leaves none behind", async () => {
    const seen = [];
    const body = (name) =>
        function* () {
            for (let i = 0; i < 3; i++) {
                seen.push([name, caller()]);
                yield i % 2 ? Promise.resolve() : null;
            }
            yield run(function* () {
                yield null;
                seen.push([name, caller()]);
            });
            return caller();
        };
    const first = during(1, () => run(body("a")));
    const second = during(2, () => run(body("b")));
    const outside = run(body("none"));
    assert.equal(caller(), undefined);
    assert.deepEqual(await Promise.all([first, second, outside]), [1, 2, undefined]);
    const expected = { a: 1, b: 2, none: undefined };
    assert.equal(seen.length, 12);
    for (const [name, call] of seen) assert.equal(call, expected[name], name);
    assert.equal(caller(), undefined);
});

test("microtasks, `then` and bound functions keep the call", async () => {
    const seen = [];
    const done = during(3, () => {
        globalThis.queueMicrotask(() => seen.push(caller()));
        const bound = bind(() => seen.push(caller()));
        return Promise.resolve().then(() => seen.push(caller())).then(() => bound);
    });
    (await done)();
    assert.deepEqual(seen, [3, 3, 3]);
});
