// Finds the scale code of a target: the smallest s with 127 * S * W >= M * 2^SHIFT, S = (16+m) << e.
// Each of the SHIFT doublings either doubles M or, where that would exceed 31 * 127 * W, is one more
// in e; a doubling of W is one more in e as well. Then 16 + m is M / (127 W), rounded up.
`default_nettype none
module scale (
  input  wire              clk,
  input  wire              rst,
  input  wire  [1:0][4:0]  shift,
  input  wire              in_valid,
  input  wire  [28:0]      in_peak,
  input  wire  [21:0]      in_total,   // set, W
  output wire              in_take,
  output wire              out_valid,
  output wire              out_zero,
  output wire  [7:0]       out_code,
  output wire  [4:0]       out_up,       // y = sum * 2^up / divisor
  output logic [25:0]      out_divisor,
  input  wire              out_take
);
  typedef enum logic [3:0] {
    IDLE, TIMES127, TIMES31, COMPARE, EXPONENT, MANTISSA, DIVIDE, ROUND, MULTIPLY, SETTLE, DONE
  } state_t;
  state_t state;
  logic [20:0] total;
  logic [5:0] left;
  logic [4:0] up, quotient;
  logic [3:0] e;
  logic [2:0] step;
  logic [34:0] peak;    // M, doubled; then what is left of it
  logic [34:0] unit;    // 127 W, doubled; then times 16, 8, ...
  logic [34:0] bound;   // 31 * 127 W, doubled
  logic set, zero, beyond;
  // Compared in one cycle, acted on in the next.
  logic over, over_doubled;
  always_ff @(posedge clk) begin
    over <= peak > bound;
    over_doubled <= {peak, 1'b0} > {1'b0, bound};
  end
  wire [34:0] rest = peak - unit;
  assign in_take = state == IDLE && in_valid;
  assign out_valid = state == DONE;
  assign out_zero = zero;
  assign out_code = {e, quotient[3:0]};
  assign out_up = up;

  always_ff @(posedge clk)
    if (rst) state <= IDLE;
    else
      case (state)
        IDLE: if (in_valid) state <= TIMES127;
        TIMES127: state <= TIMES31;
        TIMES31: state <= zero ? DONE : COMPARE;
        COMPARE: state <= EXPONENT;
        EXPONENT: state <= left == 0 && (!over || e == 15) ? MANTISSA : COMPARE;
        MANTISSA: state <= DIVIDE;
        DIVIDE: if (step == 4) state <= ROUND;
        ROUND: state <= MULTIPLY;
        MULTIPLY: state <= SETTLE;
        SETTLE: state <= DONE;
        default: if (out_take) state <= IDLE;
      endcase

  logic [25:0] total_down, product;
  always_ff @(posedge clk) begin
    case (state)
      IDLE: begin
        peak <= {6'd0, in_peak};
        {set, total} <= in_total;
      end
      TIMES127: begin
        zero  <= peak == 0 || total == 0;
        unit  <= {7'd0, total, 7'd0} - {14'd0, total};
        left  <= {1'b0, shift[set]};
        total_down <= {5'd0, total};
        up <= 0;
        e <= 0;
      end
      TIMES31: bound <= {unit[29:0], 5'd0} - unit;
      EXPONENT:
        if (left != 0) begin
          left <= left - 1'b1;
          if (over_doubled && e != 15) e <= e + 1'b1;
          else begin
            peak <= peak << 1;
            up   <= up + 1'b1;
          end
        end else if (over && e != 15) begin
          e <= e + 1'b1;
          bound <= bound << 1;
          unit <= unit << 1;
          total_down <= total_down << 1;
        end
      MANTISSA: begin
        beyond <= over;
        peak <= peak - 1'b1;  // rounded up: one less, divided, one more
        unit <= unit << 4;
        step <= 0;
      end
      DIVIDE: begin
        quotient <= {quotient[3:0], !rest[34]};
        if (!rest[34]) peak <= rest;
        unit <= unit >> 1;
        step <= step + 1'b1;
      end
      ROUND: quotient <= beyond ? 5'd31 : quotient < 5'd16 ? 5'd16 : quotient + 5'd1;
      MULTIPLY: product <= total_down[25:0] * {21'd0, quotient};
      SETTLE: out_divisor <= product;
      default: ;
    endcase
  end
endmodule
`default_nettype wire
