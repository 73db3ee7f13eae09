// Express and PostgreSQL behind the same routes, as good as they get: a process for each core,
// prepared statements, one round trip for a save, tokens checked by Node's own code.
//
// node server.mjs PORT, with PGHOST and the like set, and SECRET.
import cluster from "node:cluster";
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { availableParallelism } from "node:os";
import cors from "cors";
import express from "express";
import pg from "pg";

const ISSUER = "https://www.sidekickportal.com";
const AUDIENCE = "orion-core";
const ORIGINS = [
  "http://localhost:3000",
  /^https:\/\/([a-z0-9-]+\.)*sidekickportal\.com$/,
  /^https:\/\/([a-z0-9-]+\.)*vercel\.app$/,
];
// PostgreSQL's own limit is 100 connections.
const CONNECTIONS = 40;

const OWNER = `SELECT 1 FROM chat_sessions WHERE session_id = $1 AND user_id = $2`;
const LIST = `SELECT session_id AS "sessionId", user_id AS "userId", title,
  first_message AS "firstMessage", last_message AS "lastMessage",
  message_count AS "messageCount", created_at AS "createdAt", updated_at AS "updatedAt", metadata
  FROM chat_sessions WHERE user_id = $1 ORDER BY updated_at DESC LIMIT 100`;
const HISTORY = `SELECT message_id AS id, session_id AS "sessionId", role, content,
  created_at AS timestamp, metadata FROM chat_messages WHERE session_id = $1 ORDER BY created_at`;
const SAVE = `WITH counted AS (
    UPDATE chat_sessions SET message_count = message_count + 1, last_message = $5, updated_at = now()
    WHERE session_id = $2 AND user_id = $3 RETURNING session_id)
  INSERT INTO chat_messages (message_id, session_id, role, content)
  SELECT $1, session_id, $4, $5 FROM counted
  RETURNING message_id AS id, session_id AS "sessionId", role, content,
    created_at AS timestamp, metadata`;

if (cluster.isPrimary) {
  for (let n = 0; n < availableParallelism(); n++) cluster.fork();
} else {
  serve(new pg.Pool({ max: Math.floor(CONNECTIONS / availableParallelism()) }));
}

function serve(pool) {
  const app = express();
  app.disable("x-powered-by");
  app.use(cors({ origin: ORIGINS, credentials: true }));
  app.use(express.json());
  app.use(authenticate);
  app.get("/api/sessions/list", async (request, response) => {
    const query = { name: "list", text: LIST, values: [request.user] };
    const { rows } = await pool.query(query);
    response.json({ sessions: rows, count: rows.length });
  });
  app.get("/api/sessions/messages", async (request, response) => {
    const { sessionId } = request.query;
    const owner = { name: "owner", text: OWNER, values: [sessionId, request.user] };
    if ((await pool.query(owner)).rowCount === 0) return refuse(response, 404);
    const { rows } = await pool.query({ name: "history", text: HISTORY, values: [sessionId] });
    response.json({ messages: rows, count: rows.length });
  });
  app.post("/api/sessions/save-message", async (request, response) => {
    const { sessionId, role, content } = request.body;
    const values = [randomUUID(), sessionId, request.user, role, content];
    const { rows } = await pool.query({ name: "save", text: SAVE, values });
    if (rows.length === 0) return refuse(response, 404);
    response.status(201).json(rows[0]);
  });
  app.listen(Number(process.argv[2]), "127.0.0.1");
}

function authenticate(request, response, next) {
  const [signed, tag] = split(request.get("authorization")?.slice("Bearer ".length) ?? "");
  const expected = createHmac("sha256", process.env.SECRET).update(signed).digest();
  const given = Buffer.from(tag, "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    return refuse(response, 401);
  }
  const claims = JSON.parse(Buffer.from(signed.split(".")[1], "base64url"));
  if (claims.iss !== ISSUER || claims.aud !== AUDIENCE || claims.exp <= Date.now() / 1000) {
    return refuse(response, 401);
  }
  request.user = claims.sub;
  next();
}

function split(token) {
  const at = token.lastIndexOf(".");
  return [token.slice(0, Math.max(at, 0)), token.slice(at + 1)];
}

function refuse(response, status) {
  response.status(status).json({ error: "refused" });
}
