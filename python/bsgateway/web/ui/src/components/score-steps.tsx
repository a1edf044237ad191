import type { Decision } from "../api.d.ts";
import { decimal } from "../lib/format.ts";
import { type ScoreStep, scoreSteps, stepsRange } from "../pages/decisions/steps.ts";
import { useProperties } from "./score-scale.tsx";

/** How the score comes about: what each signal adds, as bars that go on from one another. */
export function ScoreSteps(props: { decision: Decision; caption: string }) {
  const steps = scoreSteps(props.decision);
  const { complexity_score: score, raw_score: raw } = props.decision;
  if (steps.length === 0) return <p class="empty">The request was not scored.</p>;
  const range = stepsRange(steps);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reached by the keyboard
    <section class="table-scroll" aria-label={props.caption} tabIndex={0}>
      <table class="steps">
        <caption class="visually-hidden">{props.caption}</caption>
        <thead>
          <tr>
            <th scope="col">Signal</th>
            <th scope="col" class="number" title="What was measured, 0-100">
              Value
            </th>
            <th scope="col" class="number" title="How much it counts, 0-1">
              Weight
            </th>
            <th scope="col" class="number" title="What it adds to the score">
              Points
            </th>
            <th scope="col" class="steps-chart">
              <span class="visually-hidden">Sum so far</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {steps.map((step) => (
            <StepRow key={step.name} step={step} range={range} />
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row">
              Score
              {raw !== null && (
                <span class="note"> (rounded from {decimal(raw + props.decision.bias, 2)})</span>
              )}
            </th>
            <td />
            <td />
            <td class="number">{score}</td>
            <td class="steps-chart">
              <StepBar from={0} to={score ?? 0} range={range} kind="sum" />
            </td>
          </tr>
        </tfoot>
      </table>
    </section>
  );
}

function StepRow(props: { step: ScoreStep; range: [number, number] }) {
  const { step } = props;
  return (
    <tr class={step.points === 0 ? "nil" : undefined}>
      <th scope="row">
        {step.name}
        {step.doc && <span class="steps-doc">{step.doc}</span>}
      </th>
      <td class="number">{step.value === undefined ? "" : decimal(step.value, 1)}</td>
      <td class="number">{step.weight === undefined ? "" : decimal(step.weight, 2)}</td>
      <td class="number">{points(step.points)}</td>
      <td class="steps-chart">
        <StepBar from={step.from} to={step.to} range={props.range} kind={step.points < 0 ? "down" : "up"} />
        <span class="visually-hidden">{decimal(step.to, 1)}</span>
      </td>
    </tr>
  );
}

function StepBar(props: { from: number; to: number; range: [number, number]; kind: "up" | "down" | "sum" }) {
  const [low, high] = props.range;
  const place = (value: number) => (value - low) / (high - low);
  const [start, end] = [Math.min(props.from, props.to), Math.max(props.from, props.to)];
  const bar = useProperties<HTMLSpanElement>({ "--from": place(start), "--size": place(end) - place(start) });
  return (
    <span class="step-track" aria-hidden="true">
      <span ref={bar} class={`step-bar ${props.kind}`} />
    </span>
  );
}

function points(value: number): string {
  const shown = decimal(Math.abs(value), 1);
  if (shown === "0") return "0";
  return value < 0 ? `−${shown}` : `+${shown}`;
}
