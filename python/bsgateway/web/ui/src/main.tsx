import "./styles/index.css";
import { render } from "preact";
import { App } from "./shell/app.tsx";

const place = document.getElementById("app");
if (!place) throw new Error("index.html has no #app");
render(<App />, place);
