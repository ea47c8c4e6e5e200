/** A bar from 0 to 100 percent with its figure beside it, for eyes and for screen readers. */
export function Meter({ value, label, tone }: { value: number | null | undefined; label: string; tone?: string }) {
  const known = value != null
  const share = known ? Math.min(100, Math.max(0, value)) : 0
  return (
    <div
      className={`meter ${tone ?? ""}`}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={known ? Math.round(share) : 0}
      aria-valuetext={known ? `${Math.round(share)} %` : "not known"}
    >
      <div className="fill" style={{ transform: `scaleX(${share / 100})` }} />
    </div>
  )
}
