// How far a print is: a ring with its share in the middle.
export function Ring({ percent, name, tone }: { percent: number | null; name: string; tone: string }) {
  const share = percent === null ? 0 : Math.min(100, Math.max(0, percent));
  return (
    <div className={`ring ${tone}`} role="progressbar" aria-label={`Progress of ${name}`} aria-valuemin={0} aria-valuemax={100}
      {...(percent === null ? { 'aria-valuetext': 'unknown' } : { 'aria-valuenow': Math.round(share) })}>
      <svg viewBox="0 0 100 100" aria-hidden="true" focusable="false">
        <circle cx="50" cy="50" r="44" pathLength="100" className="ring-back" />
        {share > 0 && <circle cx="50" cy="50" r="44" pathLength="100" className="ring-done" strokeDasharray={`${share} 100`} transform="rotate(-90 50 50)" />}
      </svg>
      <span>{percent === null ? '–' : <>{Math.round(share)}<small>%</small></>}</span>
    </div>
  );
}
