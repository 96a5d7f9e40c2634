// Answers requests as in a browser's service worker.
addEventListener("fetch", (event) => event.respondWith(respond(event.request)));

async function respond(request) {
    const { pathname } = new URL(request.url);
    switch (pathname) {
        case "/":
            return new Response("hello from JavaScript\n", { headers: { "content-type": "text/plain" } });
        case "/echo":
            return new Response(request.body);
        case "/spin":
            for (;;);
        default:
            return new Response("not found\n", { status: 404 });
    }
}
