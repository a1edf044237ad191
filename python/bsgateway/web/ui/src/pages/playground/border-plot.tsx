import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { useProperties } from "../../components/score-scale.tsx";
import { count } from "../../lib/format.ts";
import { limits, SCORES, tierAt, withBorder } from "../../whatif.ts";

const HEIGHT = 100;
/** Points that Page Up and Page Down move a border. */
const LEAP = 5;

/** How many requests have which score, with the borders between the tiers as handles to move. */
export function BorderPlot(props: {
  tiers: readonly string[];
  counts: readonly number[];
  borders: readonly number[];
  now: readonly number[];
  onChange: (borders: number[]) => void;
}) {
  const track = useRef<HTMLDivElement>(null);
  const { tiers, counts, borders, now, onChange } = props;
  const most = Math.max(...counts, 1);
  const scoreAt = (x: number): number => {
    const box = track.current?.getBoundingClientRect();
    return box && box.width > 0 ? ((x - box.left) / box.width) * SCORES : 0;
  };
  return (
    <div class="border-plot">
      <div class="border-track" ref={track}>
        <svg
          viewBox={`0 0 ${SCORES} ${HEIGHT}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={described(counts, tiers, borders)}
        >
          {counts.map((requests, score) => (
            <rect
              key={score}
              class={`score-column series-${tierAt(borders, score) + 1}`}
              x={score + 0.06}
              width={0.88}
              y={HEIGHT - barHeight(requests, most)}
              height={barHeight(requests, most)}
            >
              <title>{`Score ${score}: ${count(requests)}`}</title>
            </rect>
          ))}
        </svg>
        {now.map((border) => (
          <NowMark key={border} border={border} />
        ))}
        {borders.map((border, index) => (
          <Handle
            key={index}
            border={border}
            range={limits(borders, index)}
            below={tiers[index] ?? ""}
            above={tiers[index + 1] ?? ""}
            scoreAt={scoreAt}
            onMove={(to) => onChange(withBorder(borders, index, to))}
          />
        ))}
      </div>
      <p class="border-axis" aria-hidden="true">
        <span>0</span>
        <span>score (dotted: the borders as they are)</span>
        <span>100</span>
      </p>
    </div>
  );
}

function Handle(props: {
  border: number;
  range: [least: number, most: number];
  below: string;
  above: string;
  scoreAt: (x: number) => number;
  onMove: (to: number) => void;
}) {
  const { border, range, below, above, onMove } = props;
  const [least, most] = range;
  const handle = useProperties<HTMLDivElement>({ "--at": border / SCORES });
  const keys: Record<string, number> = {
    ArrowLeft: border - 1,
    ArrowDown: border - 1,
    ArrowRight: border + 1,
    ArrowUp: border + 1,
    PageDown: border - LEAP,
    PageUp: border + LEAP,
    Home: least,
    End: most,
  };
  const onKeyDown = (event: JSX.TargetedKeyboardEvent<HTMLDivElement>) => {
    const to = keys[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    onMove(to);
  };
  return (
    // An <input type="range"> has one handle over its whole width; several on one scale would cover each other.
    <div
      ref={handle}
      class="border-handle"
      role="slider"
      tabIndex={0}
      aria-label={`Border between ${below} and ${above}`}
      aria-orientation="horizontal"
      aria-valuemin={least}
      aria-valuemax={most}
      aria-valuenow={border}
      aria-valuetext={`${border}: ${above} begins here`}
      onKeyDown={onKeyDown}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
      }}
      onPointerMove={(event) => {
        if (event.currentTarget.hasPointerCapture(event.pointerId)) onMove(props.scoreAt(event.clientX));
      }}
    >
      <span class="border-grip">{border}</span>
    </div>
  );
}

/** Where a border is in the configuration. */
function NowMark(props: { border: number }) {
  const mark = useProperties<HTMLSpanElement>({ "--at": props.border / SCORES });
  return <span ref={mark} class="border-now" aria-hidden="true" />;
}

/** A few requests among many are to be seen: heights go by the square root. */
function barHeight(requests: number, most: number): number {
  return requests === 0 ? 0 : Math.max(Math.sqrt(requests / most) * HEIGHT, 1);
}

function described(counts: readonly number[], tiers: readonly string[], borders: readonly number[]): string {
  const sums = tiers.map(() => 0);
  counts.forEach((requests, score) => {
    const place = tierAt(borders, score);
    sums[place] = (sums[place] ?? 0) + requests;
  });
  return `Requests by score. ${tiers.map((name, at) => `${name}: ${count(sums[at] ?? 0)}`).join(", ")}`;
}
