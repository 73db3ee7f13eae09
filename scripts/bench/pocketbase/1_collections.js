// Sessions and messages as two collections, with the indexes that their lists need.
migrate((app) => {
  const own = "user = @request.auth.id";
  const text = (name, required) => ({ name, type: "text", required, max: 100000 });
  const rules = { listRule: own, viewRule: own, createRule: own, updateRule: own, deleteRule: own };
  const created = { name: "created", type: "autodate", onCreate: true };
  const updated = { name: "updated", type: "autodate", onCreate: true, onUpdate: true };
  app.save(new Collection({
    type: "base",
    name: "sessions",
    ...rules,
    fields: [
      text("user", true), text("title", true), text("firstMessage", false),
      text("lastMessage", false), { name: "messageCount", type: "number" },
      { name: "metadata", type: "json" }, created, updated,
    ],
    indexes: ["CREATE INDEX sessions_of_user ON sessions (user, updated DESC)"],
  }));
  app.save(new Collection({
    type: "base",
    name: "messages",
    ...rules,
    fields: [
      text("session", true), text("user", true), text("role", true), text("content", true),
      { name: "metadata", type: "json" }, created,
    ],
    indexes: ["CREATE INDEX messages_of_session ON messages (session, created)"],
  }));
});
