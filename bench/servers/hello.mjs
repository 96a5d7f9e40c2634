// The baseline of Node's own server, with the same response: node hello.mjs <port>
import { createServer } from 'node:http';

const headers = { 'content-type': 'text/plain; charset=utf-8', 'content-length': 5 };
const server = createServer((_, response) => {
  response.writeHead(200, headers);
  response.end('hello');
});
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));
