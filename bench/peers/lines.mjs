// The events, a line each, from whoever connects to the feed's port.
import { createServer } from "node:net";

export function onLine(port, take) {
  createServer((socket) => {
    let rest = "";
    socket.setEncoding("utf8");
    socket.on("data", (chunk) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop();
      for (const line of lines) take(line);
    });
  }).listen(port, "127.0.0.1");
}
