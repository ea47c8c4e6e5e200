// Socket.IO over WebSocket alone, as its page on performance recommends: no polling, no compression, no client served.
// Usage: node socketio.mjs PORT FEED_PORT
import { createServer } from "node:http";
import { Server } from "socket.io";
import { onLine } from "./lines.mjs";

const [port, feedPort] = process.argv.slice(2).map(Number);
const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
io.on("connection", (socket) => {
  socket.conn.request = null; // the page on memory usage: the first request is not needed any more
});
http.listen({ host: "127.0.0.1", port, backlog: 1024 });

onLine(feedPort, (line) => io.emit("event", JSON.parse(line)));
