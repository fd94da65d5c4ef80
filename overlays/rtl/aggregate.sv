// The core: registers, the queue of batches, and a lane for each read port. The second AXI master
// stays idle in a core with one. Everything that never changes on the bus is set here.
`default_nettype none
module aggregate #(
  parameter int D = 64,                  // values of a row: 32, 64 or 128
  parameter int PORTS = 1,               // read ports: 1 or 2
  parameter int OUTSTANDING_LOG2 = 4     // of the reads in flight per port
) (
  input  wire        aclk,
  input  wire        aresetn,
  input  wire [7:0]  s_axi_awaddr,
  input  wire [2:0]  s_axi_awprot,
  input  wire        s_axi_awvalid,
  output wire        s_axi_awready,
  input  wire [31:0] s_axi_wdata,
  input  wire [3:0]  s_axi_wstrb,
  input  wire        s_axi_wvalid,
  output wire        s_axi_wready,
  output wire [1:0]  s_axi_bresp,
  output wire        s_axi_bvalid,
  input  wire        s_axi_bready,
  input  wire [7:0]  s_axi_araddr,
  input  wire [2:0]  s_axi_arprot,
  input  wire        s_axi_arvalid,
  output wire        s_axi_arready,
  output wire [31:0] s_axi_rdata,
  output wire [1:0]  s_axi_rresp,
  output wire        s_axi_rvalid,
  input  wire        s_axi_rready,
  output wire [0:0]  m_axi_0_awid,
  output wire [31:0] m_axi_0_awaddr,
  output wire [7:0]  m_axi_0_awlen,
  output wire [2:0]  m_axi_0_awsize,
  output wire [1:0]  m_axi_0_awburst,
  output wire        m_axi_0_awlock,
  output wire [3:0]  m_axi_0_awcache,
  output wire [2:0]  m_axi_0_awprot,
  output wire        m_axi_0_awvalid,
  input  wire        m_axi_0_awready,
  output wire [63:0] m_axi_0_wdata,
  output wire [7:0]  m_axi_0_wstrb,
  output wire        m_axi_0_wlast,
  output wire        m_axi_0_wvalid,
  input  wire        m_axi_0_wready,
  input  wire [0:0]  m_axi_0_bid,
  input  wire [1:0]  m_axi_0_bresp,
  input  wire        m_axi_0_bvalid,
  output wire        m_axi_0_bready,
  output wire [0:0]  m_axi_0_arid,
  output wire [31:0] m_axi_0_araddr,
  output wire [7:0]  m_axi_0_arlen,
  output wire [2:0]  m_axi_0_arsize,
  output wire [1:0]  m_axi_0_arburst,
  output wire        m_axi_0_arlock,
  output wire [3:0]  m_axi_0_arcache,
  output wire [2:0]  m_axi_0_arprot,
  output wire        m_axi_0_arvalid,
  input  wire        m_axi_0_arready,
  input  wire [0:0]  m_axi_0_rid,
  input  wire [63:0] m_axi_0_rdata,
  input  wire [1:0]  m_axi_0_rresp,
  input  wire        m_axi_0_rlast,
  input  wire        m_axi_0_rvalid,
  output wire        m_axi_0_rready,
  output wire [0:0]  m_axi_1_awid,
  output wire [31:0] m_axi_1_awaddr,
  output wire [7:0]  m_axi_1_awlen,
  output wire [2:0]  m_axi_1_awsize,
  output wire [1:0]  m_axi_1_awburst,
  output wire        m_axi_1_awlock,
  output wire [3:0]  m_axi_1_awcache,
  output wire [2:0]  m_axi_1_awprot,
  output wire        m_axi_1_awvalid,
  input  wire        m_axi_1_awready,
  output wire [63:0] m_axi_1_wdata,
  output wire [7:0]  m_axi_1_wstrb,
  output wire        m_axi_1_wlast,
  output wire        m_axi_1_wvalid,
  input  wire        m_axi_1_wready,
  input  wire [0:0]  m_axi_1_bid,
  input  wire [1:0]  m_axi_1_bresp,
  input  wire        m_axi_1_bvalid,
  output wire        m_axi_1_bready,
  output wire [0:0]  m_axi_1_arid,
  output wire [31:0] m_axi_1_araddr,
  output wire [7:0]  m_axi_1_arlen,
  output wire [2:0]  m_axi_1_arsize,
  output wire [1:0]  m_axi_1_arburst,
  output wire        m_axi_1_arlock,
  output wire [3:0]  m_axi_1_arcache,
  output wire [2:0]  m_axi_1_arprot,
  output wire        m_axi_1_arvalid,
  input  wire        m_axi_1_arready,
  input  wire [0:0]  m_axi_1_rid,
  input  wire [63:0] m_axi_1_rdata,
  input  wire [1:0]  m_axi_1_rresp,
  input  wire        m_axi_1_rlast,
  input  wire        m_axi_1_rvalid,
  output wire        m_axi_1_rready,
  output wire        irq
);
  wire clk = aclk;
  wire rst = !aresetn;

  // ---- registers
  wire start, reset, bad, idle, running, full, over, zero;
  wire [3:0] error, length_log2;
  wire [7:0] done;
  wire [6:0] fanout;
  wire [1:0] mode;
  wire [4:0] shift;
  wire [31:0] decay, seed, count, targets, degrees, edges, table_base, out, base, limit;
  logic [31:0] cycles, read_beats, rows;
  assign s_axi_rresp = 2'd0;
  registers #(.D(D), .PORTS(PORTS), .OUTSTANDING(1 << OUTSTANDING_LOG2)) registers (
    .clk, .rst, .awaddr(s_axi_awaddr), .awvalid(s_axi_awvalid), .awready(s_axi_awready),
    .wdata(s_axi_wdata), .wstrb(s_axi_wstrb), .wvalid(s_axi_wvalid), .wready(s_axi_wready),
    .bresp(s_axi_bresp), .bvalid(s_axi_bvalid), .bready(s_axi_bready), .araddr(s_axi_araddr),
    .arvalid(s_axi_arvalid), .arready(s_axi_arready), .rdata(s_axi_rdata), .rvalid(s_axi_rvalid),
    .rready(s_axi_rready), .irq, .start, .reset, .bad, .idle, .full, .error, .done, .over, .zero,
    .cycles, .read_beats, .rows, .fanout, .mode, .length_log2, .shift, .decay, .seed, .count,
    .targets, .degrees, .edges, .table_base, .out, .base, .limit
  );

  // ---- the queue, and the registers of its two batches
  wire load, set, launch, halt, clear;
  wire [PORTS-1:0] quiet, finished, gathered;
  wire [PORTS-1:0][2:0] failed;
  batches #(.PORTS(PORTS)) batches (
    .clk, .rst, .start, .reset, .bad, .idle, .running, .full, .error, .done, .over, .zero, .load,
    .set, .launch, .halt, .clear, .quiet, .finished, .failed
  );
  logic [1:0][31:0] targets_s, degrees_s, edges_s, table_s, out_s, base_s, limit_s, seed_s;
  logic [1:0][16:0] decay_s;
  logic [1:0][15:0] count_s;
  logic [1:0][6:0] fanout_s;
  logic [1:0][1:0] mode_s;
  logic [1:0][3:0] length_log2_s;
  logic [1:0][4:0] shift_s;
  always_ff @(posedge clk)
    if (load) begin
      targets_s[set] <= targets;
      degrees_s[set] <= degrees;
      edges_s[set] <= edges;
      table_s[set] <= table_base;
      out_s[set] <= out;
      base_s[set] <= base;
      limit_s[set] <= limit;
      seed_s[set] <= seed;
      decay_s[set] <= decay[16:0];
      count_s[set] <= count[15:0];
      fanout_s[set] <= fanout;
      mode_s[set] <= mode;
      length_log2_s[set] <= length_log2;
      shift_s[set] <= shift;
    end

  // ---- lanes
  wire [1:0] arready = {m_axi_1_arready, m_axi_0_arready};
  wire [1:0][63:0] rdata = {m_axi_1_rdata, m_axi_0_rdata};
  wire [1:0] rerror = {m_axi_1_rresp[1], m_axi_0_rresp[1]};
  wire [1:0] rlast = {m_axi_1_rlast, m_axi_0_rlast};
  wire [1:0] rvalid = {m_axi_1_rvalid, m_axi_0_rvalid};
  wire [1:0] awready = {m_axi_1_awready, m_axi_0_awready};
  wire [1:0] wready = {m_axi_1_wready, m_axi_0_wready};
  wire [1:0] bvalid = {m_axi_1_bvalid, m_axi_0_bvalid};
  wire [1:0] berror = {m_axi_1_bresp[1], m_axi_0_bresp[1]};
  wire [1:0][31:0] araddr, awaddr;
  wire [1:0][3:0] arlen;
  wire [1:0][63:0] wdata;
  wire [1:0] arvalid, rready, awvalid, wlast, wvalid;
  logic lanes_rst;
  always_ff @(posedge clk) lanes_rst <= rst || clear;
  for (genvar p = 0; p < 2; p++) begin : ports
    if (p < PORTS) begin : used
      lane #(.D(D), .PORTS(PORTS), .LANE(p), .OUTSTANDING_LOG2(OUTSTANDING_LOG2)) lane (
        .clk, .rst(lanes_rst), .halt, .quiet(quiet[p]), .failed(failed[p]), .launch,
        .finished(finished[p]), .gathered(gathered[p]), .targets_base(targets_s),
        .degrees_base(degrees_s), .edges_base(edges_s), .table_base(table_s), .out_base(out_s),
        .base(base_s), .limit(limit_s), .seed(seed_s), .decay(decay_s), .count(count_s),
        .fanout(fanout_s), .mode(mode_s), .length_log2(length_log2_s), .shift(shift_s),
        .araddr(araddr[p]), .arlen(arlen[p]), .arvalid(arvalid[p]), .arready(arready[p]),
        .rdata(rdata[p]), .rerror(rerror[p]), .rlast(rlast[p]), .rvalid(rvalid[p]),
        .rready(rready[p]), .awaddr(awaddr[p]), .awvalid(awvalid[p]), .awready(awready[p]),
        .wdata(wdata[p]), .wlast(wlast[p]), .wvalid(wvalid[p]), .wready(wready[p]),
        .bvalid(bvalid[p]), .berror(berror[p])
      );
    end else begin : unused
      assign {araddr[p], awaddr[p], arlen[p], wdata[p]} = 0;
      assign {arvalid[p], rready[p], awvalid[p], wlast[p], wvalid[p]} = 0;
    end
  end

  // ---- counters
  wire [1:0] beats = {rvalid[1] && rready[1], rvalid[0] && rready[0]};
  wire [1:0] gathers = {PORTS == 2 && gathered[PORTS-1], gathered[0]};
  logic [1:0] beats_now, rows_now;
  always_ff @(posedge clk) begin
    beats_now <= {&beats, ^beats};
    rows_now <= {&gathers, ^gathers};
    if (rst || zero) begin
      cycles <= 0;
      read_beats <= 0;
      rows <= 0;
      beats_now <= 0;
      rows_now <= 0;
    end else begin
      cycles <= cycles + {31'd0, running};
      read_beats <= read_beats + {30'd0, beats_now};
      rows <= rows + {30'd0, rows_now};
    end
  end

  // ---- the rest of the bus: 8-byte beats, rising addresses, one id, bufferable
  assign m_axi_0_arid = 0;
  assign m_axi_0_araddr = araddr[0];
  assign m_axi_0_arlen = {4'd0, arlen[0]};
  assign m_axi_0_arsize = 3'd3;
  assign m_axi_0_arburst = 2'd1;
  assign m_axi_0_arlock = 0;
  assign m_axi_0_arcache = 4'b0011;
  assign m_axi_0_arprot = 3'd0;
  assign m_axi_0_arvalid = arvalid[0];
  assign m_axi_0_rready = rready[0];
  assign m_axi_0_awid = 0;
  assign m_axi_0_awaddr = awaddr[0];
  assign m_axi_0_awlen = 8'(D / 8 - 1);
  assign m_axi_0_awsize = 3'd3;
  assign m_axi_0_awburst = 2'd1;
  assign m_axi_0_awlock = 0;
  assign m_axi_0_awcache = 4'b0011;
  assign m_axi_0_awprot = 3'd0;
  assign m_axi_0_awvalid = awvalid[0];
  assign m_axi_0_wdata = wdata[0];
  assign m_axi_0_wstrb = 8'hFF;
  assign m_axi_0_wlast = wlast[0];
  assign m_axi_0_wvalid = wvalid[0];
  assign m_axi_0_bready = 1;
  assign m_axi_1_arid = 0;
  assign m_axi_1_araddr = araddr[1];
  assign m_axi_1_arlen = {4'd0, arlen[1]};
  assign m_axi_1_arsize = 3'd3;
  assign m_axi_1_arburst = 2'd1;
  assign m_axi_1_arlock = 0;
  assign m_axi_1_arcache = 4'b0011;
  assign m_axi_1_arprot = 3'd0;
  assign m_axi_1_arvalid = arvalid[1];
  assign m_axi_1_rready = rready[1];
  assign m_axi_1_awid = 0;
  assign m_axi_1_awaddr = awaddr[1];
  assign m_axi_1_awlen = 8'(D / 8 - 1);
  assign m_axi_1_awsize = 3'd3;
  assign m_axi_1_awburst = 2'd1;
  assign m_axi_1_awlock = 0;
  assign m_axi_1_awcache = 4'b0011;
  assign m_axi_1_awprot = 3'd0;
  assign m_axi_1_awvalid = awvalid[1];
  assign m_axi_1_wdata = wdata[1];
  assign m_axi_1_wstrb = 8'hFF;
  assign m_axi_1_wlast = wlast[1];
  assign m_axi_1_wvalid = wvalid[1];
  assign m_axi_1_bready = 1;
endmodule
`default_nettype wire
