// Node ws, as its README says how to broadcast. No compression (its default). Usage: node ws.mjs PORT FEED_PORT
import { WebSocketServer, WebSocket } from "ws";
import { onLine } from "./lines.mjs";

const [port, feedPort] = process.argv.slice(2).map(Number);
const server = new WebSocketServer({ host: "127.0.0.1", port, backlog: 1024, perMessageDeflate: false });

onLine(feedPort, (line) => {
  const data = Buffer.from(line);
  for (const client of server.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(data, { binary: false });
  }
});
