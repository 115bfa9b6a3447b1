import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app/App";
import { Unreachable } from "./app/Front";
import { queryClient } from "./app/queryClient";
import { loadConfig } from "./auth/config";
import { session } from "./auth/session";
import { bridge } from "./live/bridge";
import { feed } from "./live/feed";
import { tape } from "./live/hooks";
import "./styles/fonts.css";
import "./styles/tokens.css";
import "./styles/base.css";

async function start(): Promise<void> {
  const element = document.getElementById("root");
  if (!element) throw new Error("the page has no root");
  const root = createRoot(element);
  try {
    const config = await loadConfig();
    await session.start(config);
    if (session.current() === "signed_in") {
      bridge(feed, queryClient, tape);
      feed.connect(config);
    }
    root.render(
      <StrictMode>
        <App />
      </StrictMode>,
    );
  } catch (error) {
    root.render(<Unreachable error={error} />);
  }
}

void start();
